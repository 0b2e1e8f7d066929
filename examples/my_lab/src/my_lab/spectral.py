"""A last-layer Laplace posterior that keeps the leading eigenvectors of the curvature and forgets the others."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from genuq.errors import ConfigurationError
from genuq.posteriors import LastLayerPosterior, PosteriorPart, Scale


class Spectral(LastLayerPosterior):
    """N(w_map, (tau A_r / s^2 + lambda I)^-1) for each output channel, A_r the best approximation of rank r of A.

    A = sum over images and positions of a a^T, a the layer's input, is the exact curvature. Directions outside its r
    leading eigenvectors have the prior's variance, so that the posterior is never narrower than the exact one.

    Args:
        layer: the head.
        active: channels that take part, bool (O,).
        rank: r, eigenvectors that are kept; more than there are keeps all of them.

    Raises:
        ConfigurationError: a rank below 1.
    """

    kind = "spectral"

    def __init__(self, layer: nn.Module, active: Tensor | None = None, rank: int = 32) -> None:
        if rank < 1:
            raise ConfigurationError(f"posterior.rank = {rank}; at least one eigenvector must be kept.")
        super().__init__(layer, active)
        self.rank = rank
        self._gram_KK = torch.zeros(self.head.inputs, self.head.inputs, dtype=torch.float64)

    def options(self) -> dict[str, Any]:
        return {"rank": self.rank}

    # The sums: the whole curvature, so that those of several processes add up

    @property
    def curvature(self) -> Tensor:
        return self._gram_KK

    @curvature.setter
    def curvature(self, value: Tensor) -> None:
        self._gram_KK = value

    def update(self, features: Tensor, residuals: Tensor | None = None) -> None:
        self._gram_KK += self.head.gram(features.detach()).cpu()
        self.saw(len(features))

    # What is kept of them

    def leading(self) -> tuple[Tensor, Tensor]:
        """Eigenvalues (r,) and eigenvectors (K, r) of the curvature that are kept."""
        values_K, vectors_KK = torch.linalg.eigh(self._gram_KK)  # ascending
        return values_K[-self.rank :].clamp(min=0), vectors_KK[:, -self.rank :]

    def eigenvalues(self) -> Tensor:
        kept_R, _ = self.leading()
        return torch.cat([torch.zeros(len(self._gram_KK) - len(kept_R), dtype=torch.float64), kept_R])[None]

    def trace_against(self, matrix_KK: Tensor, ridge: float) -> tuple[float, float]:
        kept_R, vectors_KR = self.leading()
        inside_R = torch.einsum("kr,kl,lr->r", vectors_KR, matrix_KK, vectors_KR)
        outside = matrix_KK.trace() - inside_R.sum()
        return float((inside_R / (kept_R + ridge)).sum() + outside / ridge), float((kept_R / (kept_R + ridge)).sum())

    # The posterior

    def factorise(self, scale: Scale) -> None:
        kept_R, self._vectors_KR = self.leading()
        self._inside_R = 1 / (self.weight(scale) * kept_R + scale.prior_precision)
        self._outside = 1 / scale.prior_precision

    def deviation(self, normal_OK: Tensor) -> Tensor:
        along_OR = normal_OK @ self._vectors_KR
        return (
            self._outside**0.5 * normal_OK + along_OR * (self._inside_R**0.5 - self._outside**0.5) @ self._vectors_KR.T
        )

    def predictive_variance(self, features: Tensor) -> Tensor:
        """a^T Sigma a at every position, for each channel that takes part; float64."""
        self.require_final()
        axis, features = self.head.channel_axis, features.double()
        along = self.head.project(features, self._vectors_KR.T.contiguous().to(features)).square()
        length = self.head.project(features.square(), torch.ones(1, len(self._gram_KK)).to(features))
        outside = (length - along.sum(axis, keepdim=True)).clamp(min=0)
        inside = (along * self._as_channels(self._inside_R, along)).sum(axis, keepdim=True)
        variance = inside + self._outside * outside
        return variance * self._as_channels(self.active_O, variance)

    def _as_channels(self, values: Tensor, maps: Tensor) -> Tensor:
        """One number for each channel, shaped to multiply maps in the layout of the head's output."""
        shape = [1] * maps.ndim
        shape[self.head.channel_axis] = -1
        return values.to(maps).reshape(shape)

    def mean_variance(self) -> float:
        self.require_final()
        total = float(self._inside_R.sum()) + self._outside * (len(self._gram_KK) - len(self._inside_R))
        return total / len(self._gram_KK)


PART = PosteriorPart.of(Spectral, label="Spectral Laplace")
