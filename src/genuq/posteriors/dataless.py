"""Posteriors that no data are fitted to, and the least of them: the trained weights alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from genuq.errors import ConfigurationError
from genuq.models.offloaded import parameters_of
from genuq.posteriors.base import Posterior, Scale
from genuq.posteriors.register import POSTERIORS


class DatalessPosterior(Posterior):
    """A distribution over a network's weights that is known without data."""

    scope = "network"
    source = "nothing"

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        self.trained = {name: value.detach() for name, value in self.covered().items()}

    def update(self, inputs: Any, gradients: Any = None) -> None:
        raise ConfigurationError(f"posterior '{self.kind}' is not fitted to data: finalise it at once.")

    def sums(self) -> dict[str, Tensor]:
        return {}

    def restore(self, sums: Mapping[str, Tensor], n_seen: int) -> None:
        self.n_seen, self.scale = n_seen, None

    def factorise(self, scale: Scale) -> None:
        """Nothing to prepare."""

    def mean_variance(self) -> float:
        sizes = {name: value.numel() for name, value in self.trained.items()}
        variances = self.squared_deviations()
        return sum(variances[name] * size for name, size in sizes.items()) / sum(sizes.values())


@POSTERIORS.add(
    label="Trained weights alone",
    description="No posterior: every draw is the trained network itself.",
)
class MAP(DatalessPosterior):
    """No uncertainty: every draw is the trained network. What any posterior is compared with."""

    kind = "map"

    def covered(self) -> dict[str, Tensor]:
        return parameters_of(self.module)

    def draw(self, index: int, seed: int = 0) -> dict[str, Tensor]:
        self.require_final()
        return dict(self.trained)

    def squared_deviations(self, draws: int = 0, seed: int = 0) -> dict[str, float]:
        return dict.fromkeys(self.trained, 0.0)

    def relative_perturbation(self) -> float:
        return 0.0
