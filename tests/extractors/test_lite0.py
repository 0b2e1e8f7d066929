"""EfficientNet-Lite0's network against TensorFlow's arithmetic, and its weights by their keys."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from genuq.errors import CheckpointError
from genuq.extractors import efficientnet, lite0


@pytest.fixture(scope="module")
def published():
    return efficientnet.read_published()


def test_folding_batch_norms_changes_nothing(published):
    unfolded = lite0.load_published(published)
    folded = lite0.fold_batch_norms(copy.deepcopy(unfolded))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    images = torch.rand(2, 3, 65, 64) * 2 - 1
    with torch.no_grad():
        expected = unfolded.features(images)
        torch.testing.assert_close(folded.features(images), expected, rtol=1e-5, atol=1e-5 * float(expected.max()))


def test_strided_padding_is_tensorflows(published):
    """TensorFlow pads so that output i starts at input i * stride - before, with the odd pixel behind."""
    layer = lite0.ConvNorm(1, 1, 5, stride=2, activate=False).eval()
    layer.norm = nn.Identity()
    for size, before in ((8, 1), (9, 2)):
        image = torch.rand(1, 1, size, size)
        wide = torch.zeros(1, 1, size + 8, size + 8)
        wide[..., before : before + size, before : before + size] = image
        with torch.no_grad():
            outputs = layer(image)[0, 0]
            kernel = layer.conv.weight[0, 0]
            for i in range(-(-size // 2)):
                window = wide[0, 0, 2 * i : 2 * i + 5, 0:5]
                torch.testing.assert_close(outputs[i, 0], (window * kernel).sum())
        assert outputs.shape == (-(-size // 2), -(-size // 2))


def test_other_weights_are_refused_by_key(published):
    missing = {key: value for key, value in published.items() if key != "_blocks.3._project_conv.weight"}
    with pytest.raises(CheckpointError, match=r"blocks\.3\.project\.conv\.weight"):
        lite0.load_published(missing)
    with pytest.raises(CheckpointError, match="extra"):
        lite0.load_published({**published, "extra": torch.zeros(1)})
