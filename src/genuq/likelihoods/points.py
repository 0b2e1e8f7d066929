"""The likelihood of points: their coordinates are the space in which regenerations are compared."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from genuq.extractors.base import Progress
from genuq.extractors.judge import unchanged
from genuq.likelihoods import Likelihood, ObservationVariance


class PointLikelihood:
    """What `Likelihood` is for images, for points (N, D) or draws (N, M, D): embedding is the identity."""

    name = "points"

    def __init__(self, dimension: int, observation_variance: float | None = None) -> None:
        self.dimension, self.fixed_variance, self.normalise = dimension, observation_variance, False

    def embed(self, points: Tensor, progress: Progress | None = None, **_: Any) -> Tensor:
        return unchanged(points, progress)

    def observation_variance(self, embeddings_NMD: Tensor) -> ObservationVariance:
        return Likelihood.observation_variance(self, embeddings_NMD)  # type: ignore[arg-type]
