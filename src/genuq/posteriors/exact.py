"""Exact last-layer Laplace: the GGN of a Gaussian likelihood is A / s^2 for every output channel."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from genuq.errors import ConfigurationError
from genuq.posteriors.base import Scale
from genuq.posteriors.curvature.gram_sums import GramSums
from genuq.posteriors.curvature.head import for_variances
from genuq.posteriors.last_layer import LastLayerPosterior
from genuq.posteriors.register import POSTERIORS

VALUES_AT_ONCE = 2**24  # features at a time, whatever the batch
ADDED = "added/"  # what stands before the names of sums that are not in the matrix yet


@POSTERIORS.add(
    label="Exact Laplace",
    description="A Gaussian over the last layer's weights with the whole curvature of the loss, no approximation in "
    "between.",
)
class ExactLastLayerLaplace(LastLayerPosterior):
    """N(w_map, (tau A / s^2 + lambda I)^-1) for each output channel, A = sum over images and positions of a a^T.

    The layer is linear in its parameters and the target's noise Gaussian, so this is no approximation of the GGN.
    Only rearrangements (pixel shuffle, unpatchify, dropping channels) may stand behind the layer.
    One pass over the data; no Jacobian, no autograd. The sums are float64.
    Source: Bayesian linear regression; replaces the Monte-Carlo last-layer Laplace of BayesDiff, section 3.1.
    """

    kind = "exact_laplace"

    def __init__(self, layer: nn.Module, active: Tensor | None = None) -> None:
        super().__init__(layer, active)
        self._gram_KK = torch.zeros(self.head.inputs, self.head.inputs, dtype=torch.float64)
        self._added: GramSums | None = None  # since then

    @property
    def curvature(self) -> Tensor:
        if self._added is not None:
            self._gram_KK, self._added = self._gram_KK + self._added.matrix(), None
        return self._gram_KK

    @curvature.setter
    def curvature(self, value: Tensor) -> None:
        self._gram_KK, self._added = value, None

    def running(self) -> dict[str, Tensor]:
        added = {} if self._added is None else self._added.state()
        return {"curvature": self._gram_KK, **{f"{ADDED}{name}": value for name, value in added.items()}}

    def resume(self, running: Mapping[str, Tensor], n_seen: int) -> None:
        self.restore(running, n_seen)
        added = {name.removeprefix(ADDED): value for name, value in running.items() if name.startswith(ADDED)}
        if added:
            self._added = self.head.gram_sums()
            self._added.load(added)

    def update(self, features: Tensor, residuals: Tensor | None = None) -> None:
        at_once = max(1, VALUES_AT_ONCE // features.shape[1:].numel())
        for part in features.detach().split(at_once):
            self._added = self._added or self.head.gram_sums()
            self._added.add(part)
        self.saw(len(features))

    def eigenvalues(self) -> Tensor:
        return torch.linalg.eigvalsh(self.curvature).clamp(min=0)[None]

    def mean_eigenvalue(self) -> float:
        return float(self.curvature.trace()) / self.head.inputs  # without an eigendecomposition

    def trace_against(self, matrix_KK: Tensor, ridge: float) -> tuple[float, float]:
        factor = torch.linalg.cholesky(self._with_diagonal(1.0, ridge))
        against, own = (torch.cholesky_solve(matrix, factor).trace() for matrix in (matrix_KK, self.curvature))
        return float(against), float(own)

    def factorise(self, scale: Scale) -> None:
        precision = self._with_diagonal(self.weight(scale), scale.prior_precision)
        factor, failed = torch.linalg.cholesky_ex(precision)
        if int(failed):
            raise ConfigurationError(
                f"the posterior precision is not positive definite at posterior.prior_precision = "
                f"{scale.prior_precision:g}. Raise it."
            )
        identity = torch.eye(len(factor), dtype=torch.float64)
        self._whitening_KK = torch.linalg.solve_triangular(factor, identity, upper=False)  # L^-1, Sigma = L^-T L^-1

    def _with_diagonal(self, weight: float, diagonal: float) -> Tensor:
        matrix = weight * self.curvature
        matrix.diagonal().add_(diagonal)
        return matrix

    def deviation(self, normal_OK: Tensor) -> Tensor:
        return normal_OK @ self._whitening_KK

    def predictive_variance(self, features: Tensor) -> Tensor:
        """a_p^T Sigma a_p at every position, the squared length of L^-1 a_p; zero for channels that the sampler drops.

        L^-1 a_p is computed in the features' own precision (`for_variances`); pass features.double() for more.
        """
        self.require_final()
        return self._spread(self.head.square_sums(for_variances(features), self._whitening_KK))

    def _spread(self, variance: Tensor) -> Tensor:
        """One variance for all channels, (B, 1, H, W) or (B, ..., 1), to each channel that takes part."""
        shape = [1] * variance.ndim
        shape[self.head.channel_axis] = -1
        return variance * self.active_O.to(variance).reshape(shape)

    def covariance(self) -> Tensor:
        """Posterior covariance of one channel's parameters, (K, K)."""
        self.require_final()
        return self._whitening_KK.T @ self._whitening_KK

    def mean_variance(self) -> float:
        self.require_final()
        return float(self._whitening_KK.square().sum() / len(self._whitening_KK))
