"""The two paths from data to noise: flow matching, and the variance-preserving ones of diffusion models."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor

from genuq.errors import ConfigurationError, did_you_mean
from genuq.parts.bounds import Limits, OneOf
from genuq.processes.base import Process, Time, float64
from genuq.processes.register import PROCESSES
from genuq.processes.tabulated import Tabulated

Timesteps = Annotated[int, Limits(2, 1_000_000)]
_ZERO_SNR = "_zero_snr"  # ends the name of a schedule that is rescaled to pure noise at t = 1
SCHEDULES = tuple(f"{name}{end}" for name in ("linear", "scaled_linear", "cosine") for end in ("", _ZERO_SNR))


@PROCESSES.add(label="Flow matching")
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


@PROCESSES.add(label="Variance preserving")
class VariancePreserving(Tabulated):
    """alpha = sqrt(abar), sigma = sqrt(1 - abar), abar from a table of discrete betas.

    Discrete timestep n of a published checkpoint is t = (n + 1) / train_timesteps; t = 0 is clean data. Between the
    entries of the table see `Tabulated`.

    Args:
        schedule: `linear` (DDPM: 1e-4 to 0.02 at 1000 steps), `scaled_linear` (Stable Diffusion: 0.00085 to 0.012,
            linear in the square root) or `cosine` (Nichol & Dhariwal, betas at most 0.999); each with `_zero_snr`
            behind it for zero terminal SNR, diffusers' `rescale_betas_zero_snr`. A network of epsilon says nothing
            there: such models predict v.
        train_timesteps: entries of the table; the betas of other lengths are scaled by 1000 / train_timesteps.

    Raises:
        ConfigurationError: unknown schedule, or so short a table that a beta reaches 1.

    Source: Lin, Liu, Li & Yang 2024, Common Diffusion Noise Schedules and Sample Steps are Flawed, algorithm 1 (zero
        terminal SNR).
    """

    name = "variance_preserving"

    def __init__(
        self, schedule: Annotated[str, OneOf(*SCHEDULES)] = "linear", train_timesteps: Timesteps = 1000
    ) -> None:
        self.schedule = schedule
        if train_timesteps < 2:
            raise ConfigurationError(f"model.process.train_timesteps = {train_timesteps}; at least 2 are needed.")
        betas = _betas(schedule, train_timesteps)
        if betas.max() >= 1:
            raise ConfigurationError(
                f"model.process.train_timesteps = {train_timesteps} gives a beta of {float(betas.max()):.3g}, "
                "but betas stay below 1. Use more timesteps."
            )
        log_alpha = 0.5 * torch.log1p(-betas).cumsum(0)
        ends_at_zero = schedule.endswith(_ZERO_SNR)
        super().__init__(_zero_terminal(log_alpha) if ends_at_zero else log_alpha, ends_at_zero)


def _zero_terminal(log_alpha: Tensor) -> Tensor:
    """alpha - 1 of a table shifted to alpha = 0 at its last entry and scaled so that its first stays."""
    alpha = log_alpha.exp()
    return (alpha - alpha[-1]) * (alpha[0] / (alpha[0] - alpha[-1])) - 1


def _betas(schedule: str, steps: int) -> Tensor:
    """Of the published schedule, before any rescaling."""
    grid, published = torch.linspace(0, 1, steps, dtype=torch.float64), schedule.removesuffix(_ZERO_SNR)
    if published == "linear":
        return (1e-4 + grid * (0.02 - 1e-4)) * (1000 / steps)
    if published == "scaled_linear":
        return (0.00085**0.5 + grid * (0.012**0.5 - 0.00085**0.5)).square() * (1000 / steps)
    if published == "cosine":
        nodes = (torch.arange(steps + 1, dtype=torch.float64) / steps + 0.008) / 1.008
        abar = (nodes * math.pi / 2).cos().square()
        return (1 - abar[1:] / abar[:-1]).clamp(max=0.999)
    raise ConfigurationError(
        f"model.process.schedule = '{schedule}' is not a schedule." + did_you_mean(schedule, SCHEDULES)
    )
