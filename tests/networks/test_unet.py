"""The U-Net: its resolutions, its skips, and that every part has a say."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from genuq.networks import UNet
from genuq.networks.layers import ResidualBlock
from support.stirred import stirred


@pytest.mark.parametrize(("channels", "blocks", "stem"), [((8,), 1, 1), ((8, 16), 2, 2), ((8, 16, 16), 1, 1)])
def test_each_level_halves_and_each_way_up_takes_what_the_way_down_left(channels, blocks, stem):
    network = stirred(UNet((2, 16, 16), channels, blocks, stem))
    seen: list[tuple[int, int]] = []
    for module in network.modules():
        if isinstance(module, ResidualBlock):
            module.register_forward_hook(lambda m, inputs, output: seen.append((output.shape[1], output.shape[2])))
    network(torch.randn(1, 2, 16, 16), torch.rand(1))
    sides = [16 // stem // 2**level for level in range(len(channels))]
    down = [(width, side) for width, side in zip(channels, sides) for _ in range(blocks)]
    middle = [(channels[-1], sides[-1])] * 2
    up = [(width, side) for width, side in reversed(list(zip(channels, sides))) for _ in range(blocks + 1)]
    assert seen == down + middle + up


def test_the_input_reaches_the_output_past_the_coarsest_level():
    """With the middle and the coarse way up silenced, the fine skips still carry the image."""
    network = stirred(UNet((1, 8, 8), (8, 16), stem=1))
    x, t = torch.randn(1, 1, 8, 8), torch.rand(1)
    before = network(x, t)
    upsample = next(layer for layer in network.up if isinstance(layer, nn.Upsample))
    upsample.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
    silent = network(x, t)
    assert not torch.allclose(silent, before) and not torch.allclose(network(x + 1, t), silent)


def test_time_and_class_change_what_is_predicted_and_dropout_only_training():
    network = stirred(UNet((1, 8, 8), (8, 8), stem=1, num_classes=2, dropout=0.5))
    x, t, y = torch.randn(2, 1, 8, 8), torch.full((2,), 0.3), torch.tensor([0, 1])
    one = network(x, t, y)
    assert torch.equal(one, network(x, t, y))
    assert not torch.allclose(one, network(x, t + 0.5, y)) and not torch.allclose(one, network(x, t, 1 - y))
    network.train()
    assert not torch.allclose(one, network(x, t, y))
