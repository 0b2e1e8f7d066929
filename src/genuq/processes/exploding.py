"""The path of EDM's networks: noise is added to data that keep their scale, and the network is shown it normalised."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genuq.errors import ConfigurationError
from genuq.processes.base import Process, Time, float64
from genuq.processes.prediction import EDM_DATA


class Exploding(Process):
    """alpha = 1, sigma(t) = sigma_min (sigma_max / sigma_min)^t; t = 0 has the noise that sampling ends with.

    The network is told ln(sigma) / 4 and shown c_in x, c_in = 1 / sqrt(sigma^2 + sigma_data^2).

    Args:
        sigma_min, sigma_max: the noise at t = 0 and t = 1.
        sigma_data: standard deviation of the data that the network is preconditioned for.

    Raises:
        ConfigurationError: not 0 < sigma_min < sigma_max, or no sigma_data above 0.

    Source: Karras et al. 2022, table 1 (preconditioning); Song et al. 2021, appendix C (geometric sigma).
    """

    name = "variance_exploding"
    zero_terminal_snr = False

    def __init__(self, sigma_min: float = 0.002, sigma_max: float = 80.0, sigma_data: float = EDM_DATA) -> None:
        if not (0 < sigma_min < sigma_max and sigma_data > 0):
            raise ConfigurationError(
                f"sigma_min = {sigma_min}, sigma_max = {sigma_max}, sigma_data = {sigma_data}: give 0 < sigma_min < "
                "sigma_max and sigma_data above 0."
            )
        self.sigma_min, self.sigma_max, self.sigma_data = float(sigma_min), float(sigma_max), float(sigma_data)
        self._range = math.log(sigma_max / sigma_min)

    def alpha(self, t: Time) -> Tensor:
        return torch.ones_like(float64(t))

    def sigma(self, t: Time) -> Tensor:
        return self.sigma_min * (self._range * float64(t)).exp()

    def derivatives(self, t: Time) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(float64(t)), self._range * self.sigma(t)

    def time_at(self, half_log_snr: Time) -> Tensor:
        return ((-float64(half_log_snr) - math.log(self.sigma_min)) / self._range).clamp(0, 1)

    def network_time(self, t: Tensor) -> Tensor:
        return (self.sigma(t).log() / 4).float()

    def time_of(self, network_time: Time) -> Tensor:
        """The time t of what the network is told."""
        return self.time_at(-4 * float64(network_time))

    def shown_coefficients(self, t: Time) -> tuple[Tensor, Tensor]:
        sigma = self.sigma(t)
        c_in = (sigma.square() + self.sigma_data**2).rsqrt()
        return c_in, c_in * sigma

    def shown(self, x: Tensor, network_time_B: Tensor) -> Tensor:
        """c_in x."""
        c_in_B = (sigma_of(network_time_B).square() + self.sigma_data**2).rsqrt()
        return x * c_in_B.to(x).reshape(-1, *[1] * (x.ndim - 1))


def sigma_of(network_time: Tensor) -> Tensor:
    """The noise, float64, of what the network is told of it."""
    return (4 * network_time.double()).exp()
