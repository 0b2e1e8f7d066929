"""One interpolant for diffusion and flow matching: x_t = alpha(t) x_0 + sigma(t) eps, t in [0, 1], t = 1 is noise.

Coefficients are computed in float64 from numbers or tensors of any shape.
Source: methods of Lipman et al. 2023 and Albergo et al. 2023 (flow matching as an interpolant), Ho et al. 2020 (DDPM),
Rombach et al. 2022 (scaled linear), Nichol & Dhariwal 2021 (cosine).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

Time = Tensor | float


class Process(ABC):
    """The interpolant between data (t = 0) and noise (t = 1)."""

    name: str

    @abstractmethod
    def alpha(self, t: Time) -> Tensor:
        """Coefficient of x_0, float64, in the shape of t."""

    @abstractmethod
    def sigma(self, t: Time) -> Tensor:
        """Coefficient of eps, float64, in the shape of t."""

    @abstractmethod
    def derivatives(self, t: Time) -> tuple[Tensor, Tensor]:
        """(d alpha / d t, d sigma / d t), float64."""

    def half_log_snr(self, t: Time) -> Tensor:
        """lambda = log(alpha / sigma), the time of the DPM-Solver family; infinite where one of them is 0."""
        return self.alpha(t).log() - self.sigma(t).log()

    @abstractmethod
    def time_at(self, half_log_snr: Time) -> Tensor:
        """The inverse of `half_log_snr`."""

    def network_time(self, t: Tensor) -> Tensor:
        """What the network is told of the time t: t itself, unless the process was read off a scheduler."""
        return t

    def shown(self, x: Tensor, network_time_B: Tensor) -> Tensor:
        """What the network is shown of the states x (B, ...): the states, unless the path is that of EDM's networks."""
        return x

    def shown_coefficients(self, t: Time) -> tuple[Tensor, Tensor]:
        """(alpha, sigma) of what the network is shown, float64."""
        return self.alpha(t), self.sigma(t)

    def interpolate(self, x0: Tensor, noise: Tensor, t_B: Tensor) -> Tensor:
        """x_t for a batch: x0 and noise (B, ...), t (B,)."""
        alpha, sigma = (_over(coefficient, x0) for coefficient in (self.alpha(t_B), self.sigma(t_B)))
        return alpha * x0 + sigma * noise


def float64(value: Time) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64)


def _over(coefficient_B: Tensor, x: Tensor) -> Tensor:
    """Coefficients (B,) shaped to multiply x (B, ...)."""
    return coefficient_B.to(x.dtype).reshape(-1, *[1] * (x.ndim - 1))
