"""A posterior that is none: isotropic weight noise of a given size, the control beside the real ones."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from genuq.errors import ConfigurationError
from genuq.posteriors.base import Posterior, Scale
from genuq.posteriors.curvature.head import for_variances
from genuq.posteriors.last_layer import LastLayerPosterior
from genuq.posteriors.register import POSTERIORS


@POSTERIORS.add(
    label="Isotropic noise",
    description="A control: noise of one size in all weights of the last layer, which knows no data.",
    kind="control",
)
class IsotropicNoise(LastLayerPosterior):
    """N(w_map, I / lambda): weight noise that knows no curvature, as a control.

    `matched_to` gives it another posterior's mean perturbation.
    """

    kind = "isotropic"

    def __init__(self, layer: nn.Module, active: Tensor | None = None) -> None:
        super().__init__(layer, active)
        self._none = torch.zeros(1, self.head.inputs, dtype=torch.float64)

    @classmethod
    def matched_to(cls, other: Posterior) -> Self:
        """Noise on the same layer with the mean variance of a finalised posterior.

        Raises:
            ConfigurationError: the other posterior is not one over the head.
        """
        if not isinstance(other, LastLayerPosterior):
            raise ConfigurationError(
                f"isotropic noise on the head cannot take the size of '{other.kind}', which moves other layers too. "
                "Use isotropic_network."
            )
        noise = cls(other.head.layer, other.active_O)
        noise.n_seen = other.n_seen
        scale = other.require_final()
        return noise.finalise(
            Scale(scale.n_effective, scale.observation_noise, prior_precision=1 / other.mean_variance())
        )

    @property
    def curvature(self) -> Tensor:
        return self._none

    @curvature.setter
    def curvature(self, value: Tensor) -> None:
        self._none = value

    def update(self, features: Tensor, residuals: Tensor | None = None) -> None:
        self.saw(len(features))

    def eigenvalues(self) -> Tensor:
        return self._none

    def trace_against(self, matrix_KK: Tensor, ridge: float) -> tuple[float, float]:
        return float(matrix_KK.trace()) / ridge, 0.0

    def factorise(self, scale: Scale) -> None:
        self._variance = 1 / scale.prior_precision

    def deviation(self, normal_OK: Tensor) -> Tensor:
        return normal_OK * self._variance**0.5

    def predictive_variance(self, features: Tensor) -> Tensor:
        self.require_final()
        variance_OK = self._variance * self.active_O[:, None].double().expand(self.mean_OK.shape)
        features = for_variances(features)
        return self.head.project(features.square(), variance_OK.to(features)).double()

    def mean_variance(self) -> float:
        self.require_final()
        return self._variance
