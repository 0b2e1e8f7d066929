"""Pixels as features."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from genuq.extractors.base import Extractor
from genuq.extractors.register import EXTRACTORS


@EXTRACTORS.add(name="pixels", label="Pixels")
class Pixels(Extractor):
    """The identity: an image's values in [0, 1] as its feature vector; c = identity in DIFF-UQ's pixel likelihood.

    Args:
        image_shape: (C, H, W).
    """

    def __init__(self, image_shape: Sequence[int]) -> None:
        channels, height, width = image_shape
        super().__init__(f"pixels-{channels}x{height}x{width}", channels * height * width)

    def embed(self, images_BCHW: Tensor) -> Tensor:
        return images_BCHW.flatten(1)
