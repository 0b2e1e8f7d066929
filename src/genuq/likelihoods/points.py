"""The likelihood of points: their coordinates are the space in which regenerations are compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from genuq.extractors.base import Progress, unchanged
from genuq.likelihoods.draws import Variance
from genuq.likelihoods.likelihood import Likelihood, ObservationVariance, PixelLikelihood
from genuq.likelihoods.register import LIKELIHOODS


class PointLikelihood:
    """What `Likelihood` is for images, for points (N, D) or draws (N, M, D): embedding is the identity."""

    name = "points"

    def __init__(self, dimension: int, observation_variance: Variance | None = None) -> None:
        self.dimension, self.fixed_variance, self.normalise = dimension, observation_variance, False

    def embed(self, points: Tensor, progress: Progress | None = None, **_: Any) -> Tensor:
        return unchanged(points, progress)

    def observation_variance(self, embeddings_NMD: Tensor) -> ObservationVariance:
        return Likelihood.observation_variance(self, embeddings_NMD)  # type: ignore[arg-type]


@LIKELIHOODS.add(name="pixel", label="Pixels, or points")
def without_encoder(
    shape: Sequence[int], observation_variance: Variance | None = None
) -> PixelLikelihood | PointLikelihood:
    """Samples compared value by value: images by their pixels in [0, 1], points by their coordinates.

    Args:
        shape: of a sample, (C, H, W) or (D,).
        observation_variance: see `PixelLikelihood`.
    """
    if len(shape) == 3:
        return PixelLikelihood(shape, observation_variance)
    return PointLikelihood(shape[0], observation_variance)
