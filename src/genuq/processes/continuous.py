"""The variance-preserving path in continuous time, of networks that no table of betas belongs to."""

from __future__ import annotations

import torch
from torch import Tensor

from genuq.processes.base import Process, Time, float64


class ContinuousVP(Process):
    """alpha^2 = exp(-integral of beta), beta(t) = first + t (last - first), sigma^2 = 1 - alpha^2.

    Args:
        first, last: beta at t = 0 and t = 1.
        told: what networks are told of t = 1; in proportion of other times.

    Source: Song et al. 2021, appendix C (the VP SDE).
    """

    name = "variance_preserving"
    zero_terminal_snr = False

    def __init__(self, first: float = 0.1, last: float = 20.0, told: float = 999.0) -> None:
        self.first, self.rise, self.told = first, last - first, told

    def _integral(self, t: Time) -> Tensor:
        time = float64(t)
        return time * (self.first + 0.5 * self.rise * time)

    def alpha(self, t: Time) -> Tensor:
        return (-0.5 * self._integral(t)).exp()

    def sigma(self, t: Time) -> Tensor:
        return (-torch.expm1(-self._integral(t))).sqrt()

    def derivatives(self, t: Time) -> tuple[Tensor, Tensor]:
        """(d alpha / d t, d sigma / d t), float64; the latter is infinite at t = 0."""
        alpha, beta = self.alpha(t), self.first + self.rise * float64(t)
        return -0.5 * beta * alpha, 0.5 * beta * alpha.square() / self.sigma(t)

    def time_at(self, half_log_snr: Time) -> Tensor:
        integral = torch.nn.functional.softplus(-2 * float64(half_log_snr)).clamp(max=self._integral(1.0))
        twice = 2 * integral
        return (twice / (self.first + (self.first**2 + self.rise * twice).sqrt())).clamp(0, 1)

    def network_time(self, t: Tensor) -> Tensor:
        return (t.double() * self.told).float()

    def time_of(self, network_time: Time) -> Tensor:
        """The time t of what the network is told."""
        return float64(network_time) / self.told
