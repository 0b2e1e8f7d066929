"""One interpolant for diffusion and flow matching: x_t = alpha(t) x_0 + sigma(t) eps, t in [0, 1], t = 1 is noise.

Coefficients are computed in float64 from numbers or tensors of any shape.
Source: methods of Lipman et al. 2023 and Albergo et al. 2023 (flow matching as an interpolant), Ho et al. 2020 (DDPM),
Rombach et al. 2022 (scaled linear), Nichol & Dhariwal 2021 (cosine).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from genuq.errors import ConfigurationError, did_you_mean

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

    def interpolate(self, x0: Tensor, noise: Tensor, t_B: Tensor) -> Tensor:
        """x_t for a batch: x0 and noise (B, ...), t (B,)."""
        alpha, sigma = (_over(coefficient, x0) for coefficient in (self.alpha(t_B), self.sigma(t_B)))
        return alpha * x0 + sigma * noise


class FlowMatching(Process):
    """Rectified (optimal-transport) path: alpha = 1 - t, sigma = t."""

    name = "flow_matching"

    def alpha(self, t: Time) -> Tensor:
        return 1 - float64(t)

    def sigma(self, t: Time) -> Tensor:
        return float64(t)

    def derivatives(self, t: Time) -> tuple[Tensor, Tensor]:
        one = torch.ones_like(float64(t))
        return -one, one

    def time_at(self, half_log_snr: Time) -> Tensor:
        return torch.sigmoid(-float64(half_log_snr))


class VariancePreserving(Process):
    """alpha = sqrt(abar), sigma = sqrt(1 - abar), abar from a table of discrete betas.

    Between the table's nodes log(alpha) is linear in t. Discrete timestep n of a published checkpoint is
    t = (n + 1) / train_timesteps; t = 0 is clean data.

    Args:
        schedule: `linear` (DDPM: 1e-4 to 0.02 at 1000 steps), `scaled_linear` (Stable Diffusion: 0.00085 to 0.012,
            linear in the square root) or `cosine` (Nichol & Dhariwal, betas at most 0.999).
        train_timesteps: entries of the table.
    """

    name = "variance_preserving"

    def __init__(self, schedule: str = "linear", train_timesteps: int = 1000) -> None:
        self.schedule, self.train_timesteps = schedule, train_timesteps
        log_alpha = 0.5 * torch.log1p(-_betas(schedule, train_timesteps)).cumsum(0)
        self._log_alpha = torch.cat([torch.zeros(1, dtype=torch.float64), log_alpha])

    def _locate(self, t: Time) -> tuple[Tensor, Tensor]:
        """Table index to the left of t, and the fraction of the way to the next."""
        position = float64(t).clamp(0, 1) * self.train_timesteps
        left = position.floor().clamp(max=self.train_timesteps - 1)
        return left.long().cpu(), (position - left).cpu()

    def _log_alpha_at(self, t: Time) -> Tensor:
        left, fraction = self._locate(t)
        return torch.lerp(self._log_alpha[left], self._log_alpha[left + 1], fraction).to(float64(t).device)

    def alpha(self, t: Time) -> Tensor:
        return self._log_alpha_at(t).exp()

    def sigma(self, t: Time) -> Tensor:
        return (-torch.expm1(2 * self._log_alpha_at(t))).sqrt()

    def derivatives(self, t: Time) -> tuple[Tensor, Tensor]:
        left, _ = self._locate(t)
        slope = ((self._log_alpha[left + 1] - self._log_alpha[left]) * self.train_timesteps).to(float64(t).device)
        alpha, sigma = self.alpha(t), self.sigma(t)
        return alpha * slope, -slope * alpha.square() / sigma

    def time_at(self, half_log_snr: Time) -> Tensor:
        lam = float64(half_log_snr)
        log_alpha = -0.5 * torch.nn.functional.softplus(-2 * lam).cpu()
        right = torch.searchsorted(-self._log_alpha, -log_alpha).clamp(1, self.train_timesteps)
        low, high = self._log_alpha[right - 1], self._log_alpha[right]
        return ((right - 1 + (log_alpha - low) / (high - low)) / self.train_timesteps).clamp(0, 1).to(lam.device)


def _betas(schedule: str, steps: int) -> Tensor:
    grid = torch.linspace(0, 1, steps, dtype=torch.float64)
    if schedule == "linear":
        return (1e-4 + grid * (0.02 - 1e-4)) * (1000 / steps)
    if schedule == "scaled_linear":
        return (0.00085**0.5 + grid * (0.012**0.5 - 0.00085**0.5)).square() * (1000 / steps)
    if schedule == "cosine":
        nodes = (torch.arange(steps + 1, dtype=torch.float64) / steps + 0.008) / 1.008
        abar = (nodes * math.pi / 2).cos().square()
        return (1 - abar[1:] / abar[:-1]).clamp(max=0.999)
    raise ConfigurationError(
        f"model.process.schedule = '{schedule}' is not a schedule."
        + did_you_mean(schedule, ["linear", "scaled_linear", "cosine"])
    )


def build(name: str, schedule: str = "linear", train_timesteps: int = 1000) -> Process:
    """The process called `flow_matching` or `variance_preserving`.

    Raises:
        ConfigurationError: no process has this name.
    """
    if name == FlowMatching.name:
        return FlowMatching()
    if name == VariancePreserving.name:
        return VariancePreserving(schedule, train_timesteps)
    raise ConfigurationError(
        f"model.process = '{name}' is not a process." + did_you_mean(name, [FlowMatching.name, VariancePreserving.name])
    )


def float64(value: Time) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64)


def _over(coefficient_B: Tensor, x: Tensor) -> Tensor:
    """Coefficients (B,) shaped to multiply x (B, ...)."""
    return coefficient_B.to(x.dtype).reshape(-1, *[1] * (x.ndim - 1))
