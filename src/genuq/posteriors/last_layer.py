"""Posteriors over one linear layer, the model's head, in its own geometry: W (O, K) with the bias as last column.

The statistics are sums over images, so that batches, shards and processes add up.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from genuq.errors import ConfigurationError
from genuq.models.offloaded import parameters_of
from genuq.posteriors.base import CurvaturePosterior
from genuq.posteriors.curvature.head import head_of
from genuq.randomness import WEIGHTS, generator


class LastLayerPosterior(CurvaturePosterior):
    """A Gaussian over the parameters of one Conv2d or Linear layer, centred at the trained ones.

    Args:
        layer: the head, with its trained weights; it is read, never changed.
        active: bool (O,), False for output channels that the sampler discards; they keep their trained weights.

    Raises:
        ConfigurationError: an unsuitable layer, or `active` that does not fit it.
        NonFiniteError: NaN or infinite weights.
    """

    scope = "head"
    closed_form = True

    def __init__(self, layer: nn.Module, active: Tensor | None = None) -> None:
        self.head = head_of(layer)
        super().__init__(layer)
        self.mean_OK = self.head.matrix().cpu()
        self.active_O = torch.ones(self.head.outputs, dtype=torch.bool) if active is None else active.cpu().bool()
        if self.active_O.shape != (self.head.outputs,) or not self.active_O.any():
            raise ConfigurationError(
                f"active has shape {tuple(self.active_O.shape)} and {int(self.active_O.sum())} true entries; it must "
                f"have one entry for each of the head's {self.head.outputs} output channels, and a true one."
            )

    def covered(self) -> dict[str, Tensor]:
        return parameters_of(self.module)

    def constants(self) -> dict[str, Tensor]:
        return {"active": self.active_O}

    @classmethod
    def constant_names(cls) -> tuple[str, ...]:
        return ("active",)

    @abstractmethod
    def update(self, features: Tensor, residuals: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            features: the head's input, (B, C, H, W) or (B, ..., C).
            residuals: f - target in the layout of the head's output, where `needs` says so.
        """

    @property
    @abstractmethod
    def curvature(self) -> Tensor:
        """The summed curvature of the negative log likelihood at s^2 = 1."""

    @curvature.setter
    @abstractmethod
    def curvature(self, value: Tensor) -> None: ...

    def sums(self) -> dict[str, Tensor]:
        return {"curvature": self.curvature}

    def restore(self, sums: Mapping[str, Tensor], n_seen: int) -> None:
        self.curvature, self.n_seen, self.scale = sums["curvature"], n_seen, None

    @abstractmethod
    def eigenvalues(self) -> Tensor:
        """Eigenvalues of the summed curvature, (O or 1, K): one row for all channels where they share it."""

    def spectrum(self) -> list[tuple[Tensor, float]]:
        eigenvalues = self.eigenvalues()
        return [(eigenvalues, int(self.active_O.sum()) / len(eigenvalues))]

    @abstractmethod
    def trace_against(self, matrix_KK: Tensor, ridge: float) -> tuple[float, float]:
        """(tr((C + ridge)^-1 M), tr((C + ridge)^-1 C)) for the summed curvature C of one channel."""

    @abstractmethod
    def deviation(self, normal_OK: Tensor) -> Tensor:
        """A draw's deviation from the mean, (O, K), from standard normal numbers (O, K)."""

    def draw(self, index: int, seed: int = 0) -> dict[str, Tensor]:
        self.require_final()
        self.require_precision()
        source = generator(seed, index, WEIGHTS)
        normal_OK = torch.randn(self.mean_OK.shape, generator=source, dtype=torch.float64)
        deviation_OK = self.deviation(normal_OK) * self.active_O[:, None]
        return self.head.parameters(self.mean_OK + deviation_OK)

    def mean_square(self) -> float:
        return float(self.mean_OK[self.active_O].square().mean())
