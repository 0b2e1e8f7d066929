"""Diagonal Laplace on the last layer, from the GGN or from the empirical Fisher in either convention."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from genuq.errors import ConfigurationError
from genuq.parts.bounds import OneOf, check
from genuq.posteriors.base import Scale
from genuq.posteriors.curvature.head import for_variances
from genuq.posteriors.last_layer import LastLayerPosterior
from genuq.posteriors.register import POSTERIORS

IMAGES_AT_ONCE = 4  # in float64, beside the features
CONVENTIONS = ("ggn", "empirical_fisher", "laplace_torch")


@POSTERIORS.add(
    label="Diagonal Laplace",
    description="A Gaussian over the last layer's weights that keeps each weight's own curvature and forgets "
    "all pairs.",
)
class DiagonalLaplace(LastLayerPosterior):
    """N(w_map, diag(tau c / s^2 + lambda)^-1) with c a diagonal curvature.

    Args:
        layer: the head.
        active: channels that take part, bool (O,).
        convention: `ggn`: diag(A), equal for all channels; `empirical_fisher`: sum_n (sum_p r_np a_npj)^2, the squared
            gradient of the half squared error, what both papers use in spirit, weighted by 1/s^4; `laplace_torch`:
            twice that, weighted by 1/s^2, as laplace-torch has it (squared gradient of the un-halved loss, times 1/2).

    Source: Daxberger et al. 2021 (laplace-torch), section 3.
    """

    kind = "diagonal_laplace"

    def __init__(
        self, layer: nn.Module, active: Tensor | None = None, convention: Annotated[str, OneOf(*CONVENTIONS)] = "ggn"
    ) -> None:
        check("posterior.convention", convention, Annotated[str, OneOf(*CONVENTIONS)])
        super().__init__(layer, active)
        self.convention = convention
        self.needs = "nothing" if convention == "ggn" else "residuals"
        self.noise_power = 2 if convention == "empirical_fisher" else 1
        self._curvature_OK = torch.zeros(self.mean_OK.shape, dtype=torch.float64)

    @property
    def curvature(self) -> Tensor:
        return self._curvature_OK

    @curvature.setter
    def curvature(self, value: Tensor) -> None:
        self._curvature_OK = value

    def update(self, features: Tensor, residuals: Tensor | None = None) -> None:
        if self.convention == "ggn":
            self._curvature_OK += self.head.gram_diagonal(features.detach()).cpu()
        elif residuals is None:
            raise ConfigurationError(f"posterior.convention = '{self.convention}' needs the residuals of each batch.")
        else:
            factor = 2.0 if self.convention == "laplace_torch" else 1.0
            for some, theirs in zip(features.detach().split(IMAGES_AT_ONCE), residuals.detach().split(IMAGES_AT_ONCE)):
                gradients_BOK = self.head.gradients(some.double(), theirs.double())
                self._curvature_OK += factor * gradients_BOK.square().sum(0).cpu()
        self.saw(len(features))

    def options(self) -> dict[str, str]:
        return {"convention": self.convention}

    def eigenvalues(self) -> Tensor:
        return self._curvature_OK[self.active_O]

    def trace_against(self, matrix_KK: Tensor, ridge: float) -> tuple[float, float]:
        curvature_K = self._curvature_OK[self.active_O].mean(0)
        inverse_K = 1 / (curvature_K + ridge)
        return float((inverse_K * matrix_KK.diagonal()).sum()), float((inverse_K * curvature_K).sum())

    def factorise(self, scale: Scale) -> None:
        self._variance_OK = 1 / (self.weight(scale) * self._curvature_OK + scale.prior_precision)

    def deviation(self, normal_OK: Tensor) -> Tensor:
        return normal_OK * self._variance_OK.sqrt()

    def predictive_variance(self, features: Tensor) -> Tensor:
        """sum_j a_pj^2 var_oj: one pass of the head over squared features."""
        self.require_final()
        variance_OK = self._variance_OK * self.active_O[:, None]
        features = for_variances(features)
        return self.head.project(features.square(), variance_OK.to(features)).double()

    def mean_variance(self) -> float:
        self.require_final()
        return float(self._variance_OK[self.active_O].mean())
