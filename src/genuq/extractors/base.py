"""A feature extractor: images in, one vector for each out. The space in which samples are compared."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from genuq.errors import ConfigurationError, DataError, GenuqError, require_finite
from genuq.extractors.images import to_unit_range

Progress = Callable[[int], object]


class WeightsUnavailableError(GenuqError):
    """Pretrained weights that are neither on this machine nor within reach; the message says how to get them."""


class Extractor(nn.Module):
    """Base of all extractors: always in evaluation mode, without gradients.

    Attributes:
        name: unique for what changes the features: network, weights, resolution. Results that were computed
            in different spaces carry different names.
        dimension: D, the length of a feature vector.

    A new extractor implements `embed`.
    """

    def __init__(self, name: str, dimension: int) -> None:
        super().__init__()
        self.name, self.dimension = name, dimension
        self.eval()

    @abstractmethod
    def embed(self, images_BCHW: Tensor) -> Tensor:
        """(B, D) features of checked float32 images in [0, 1] with 1 or 3 channels."""

    def train(self, mode: bool = True) -> Extractor:
        """Stay in evaluation mode: a feature must not depend on the rest of its batch."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images_BCHW: Tensor) -> Tensor:
        """(B, D) float32 features of uint8 images, or floating images in [0, 1], with 1 or 3 channels.

        Raises:
            DataError: images of another shape or range; features of another shape than (B, dimension).
            NonFiniteError: NaN or infinite pixels or features.
        """
        features_BD = self.embed(to_unit_range(images_BCHW))
        expected = (len(images_BCHW), self.dimension)
        if tuple(features_BD.shape) != expected:
            raise DataError(f"Extractor '{self.name}' returned {tuple(features_BD.shape)} instead of {expected}.")
        require_finite(
            features_BD, f"The output of extractor '{self.name}'", "Its weights or its arithmetic are broken."
        )
        return features_BD.float()

    def extract(
        self,
        images_NCHW: Tensor,
        batch_size: int = 32,
        progress: Progress | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Features of any number of images, in batches.

        Args:
            images_NCHW: uint8, or floating in [0, 1].
            batch_size: images at once; the features do not depend on it. On a CPU 32 is fastest, a GPU likes more.
            progress: called with the number of images just done, after each batch (a progress bar's `update`).
            device: moves the extractor there first; None leaves it where it is.
        Returns:
            (N, D) float32 on the CPU.
        """
        if batch_size < 1:
            raise ConfigurationError(f"batch_size must be at least 1, not {batch_size}.")
        if device is not None:
            self.to(device)
        here = next((tensor.device for tensor in (*self.parameters(), *self.buffers())), torch.device(device or "cpu"))
        features_ND = torch.empty(len(images_NCHW), self.dimension)
        for start in range(0, len(images_NCHW), batch_size):
            batch = images_NCHW[start : start + batch_size]
            features_ND[start : start + len(batch)] = self(batch.to(here)).cpu()
            if progress is not None:
                progress(len(batch))
        return features_ND


def unchanged(points: Tensor, progress: Progress | None = None, **_: Any) -> Tensor:
    """The identity as an embedding: reports the points (..., D) as done, as an extractor does its images."""
    if progress is not None:
        progress(points[..., 0].numel())
    return points


class FromCallable(Extractor):
    """Any function from float images (B, C, H, W) in [0, 1] to features (B, D) as an extractor.

    Args:
        function: the embedding; a module is put in evaluation mode and moves with the extractor.
        name: what results call this space.
        dimension: D.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], name: str, dimension: int) -> None:
        super().__init__(name, dimension)
        self.function = function
        self.eval()

    def embed(self, images_BCHW: Tensor) -> Tensor:
        return self.function(images_BCHW)
