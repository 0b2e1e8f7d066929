"""Pixels as features."""

from __future__ import annotations

import pytest
import torch

from genuq import extractors
from genuq.errors import ConfigurationError


def test_pixels_are_the_identity():
    images = torch.rand(5, 1, 3, 4)
    extractor = extractors.build("pixels", image_shape=(1, 3, 4))
    assert extractor.dimension == 12 and extractor.name == "pixels-1x3x4"
    torch.testing.assert_close(extractor.extract(images), images.flatten(1), rtol=0, atol=0)


def test_squares_of_pixels_may_be_one_feature():
    images = torch.rand(5, 3, 4, 8)
    extractor = extractors.build("pixels", image_shape=(3, 4, 8), pool=4)
    assert extractor.dimension == 6 and extractor.name == "pixels-3x1x2"
    expected = torch.stack([images[..., :4].mean((2, 3)), images[..., 4:].mean((2, 3))], 2).flatten(1)
    torch.testing.assert_close(extractor.extract(images), expected)
    with pytest.raises(ConfigurationError, match="pool = 3 does not divide 4 x 8"):
        extractors.build("pixels", image_shape=(3, 4, 8), pool=3)
