"""Pixels as features."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from genuq.errors import ConfigurationError
from genuq.extractors.base import Extractor
from genuq.extractors.register import EXTRACTORS
from genuq.parts.bounds import Count


@EXTRACTORS.add(name="pixels", label="Pixels")
class Pixels(Extractor):
    """The identity: an image's values in [0, 1] as its feature vector; c = identity in DIFF-UQ's pixel likelihood.

    Args:
        image_shape: (C, H, W), or (C, F, H, W) of films, whose frames are images.
        pool: side of the squares of pixels whose mean is one feature.

    Raises:
        ConfigurationError: squares that do not divide the image.
    """

    def __init__(self, image_shape: Sequence[int], pool: Count = 1) -> None:
        channels, height, width = image_shape[0], *image_shape[-2:]
        if pool < 1 or height % pool or width % pool:
            raise ConfigurationError(
                f"extractor 'pixels': pool = {pool} does not divide {height} x {width} pixels. Choose a divisor."
            )
        height, width = height // pool, width // pool
        super().__init__(f"pixels-{channels}x{height}x{width}", channels * height * width)
        self.pool = pool

    def embed(self, images_BCHW: Tensor) -> Tensor:
        return F.avg_pool2d(images_BCHW, self.pool).flatten(1) if self.pool > 1 else images_BCHW.flatten(1)
