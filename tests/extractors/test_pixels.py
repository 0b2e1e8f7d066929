"""Pixels as features."""

from __future__ import annotations

import torch

from genuq import extractors


def test_pixels_are_the_identity():
    images = torch.rand(5, 1, 3, 4)
    extractor = extractors.build("pixels", image_shape=(1, 3, 4))
    assert extractor.dimension == 12 and extractor.name == "pixels-1x3x4"
    torch.testing.assert_close(extractor.extract(images), images.flatten(1), rtol=0, atol=0)
