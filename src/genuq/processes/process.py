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

Timesteps = Annotated[int, Limits(2, 1_000_000)]
_NEWTON_STEPS = 6  # from a linear guess; the cubics are nearly linear, and 4 reach rounding
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
class VariancePreserving(Process):
    """alpha = sqrt(abar), sigma = sqrt(1 - abar), abar from a table of discrete betas.

    Between the table's nodes log(alpha) is a monotone cubic (alpha itself where it ends at 0): the derivative is
    continuous, as the order of convergence of Euler's and Heun's methods requires. Discrete timestep n of a published
    checkpoint is t = (n + 1) / train_timesteps; t = 0 is clean data.

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
        self.schedule, self.train_timesteps = schedule, train_timesteps
        if train_timesteps < 2:
            raise ConfigurationError(f"model.process.train_timesteps = {train_timesteps}; at least 2 are needed.")
        betas = _betas(schedule, train_timesteps)
        if betas.max() >= 1:
            raise ConfigurationError(
                f"model.process.train_timesteps = {train_timesteps} gives a beta of {float(betas.max()):.3g}, "
                "but betas stay below 1. Use more timesteps."
            )
        log_alpha = 0.5 * torch.log1p(-betas).cumsum(0)
        self._ends_at_zero = schedule.endswith(_ZERO_SNR)
        values = _zero_terminal(log_alpha) if self._ends_at_zero else log_alpha
        self._nodes = torch.cat([torch.zeros(1, dtype=torch.float64), values])
        self._coefficients = _monotone_cubics(self._nodes)

    def _value_at(self, t: Time) -> tuple[Tensor, Tensor]:
        """log(alpha), or alpha - 1 where alpha ends at 0, and its derivative in t."""
        time = float64(t)
        position = time.cpu().clamp(0, 1) * self.train_timesteps
        cell = position.long().clamp(max=self.train_timesteps - 1)
        value, slope = self._cubic(cell, position - cell)
        if self._ends_at_zero:
            value = torch.where(position == self.train_timesteps, -1.0, value)  # exactly, not to rounding
        return value.to(time.device), (slope * self.train_timesteps).to(time.device)

    def _cubic(self, cell: Tensor, fraction: Tensor) -> tuple[Tensor, Tensor]:
        """What `_value_at` interpolates and its slope per cell, a fraction of the way into cells of the table."""
        c0, c1, c2, c3 = self._coefficients[cell].unbind(-1)
        value = c0 + fraction * (c1 + fraction * (c2 + fraction * c3))
        return value, c1 + fraction * (2 * c2 + 3 * fraction * c3)

    def alpha(self, t: Time) -> Tensor:
        value = self._value_at(t)[0]
        return 1 + value if self._ends_at_zero else value.exp()

    def sigma(self, t: Time) -> Tensor:
        value = self._value_at(t)[0]
        variance = value * (2 + value) if self._ends_at_zero else torch.expm1(2 * value)  # alpha^2 - 1
        return variance.abs().sqrt()  # abs: 0 at t = 0, never -0

    def derivatives(self, t: Time) -> tuple[Tensor, Tensor]:
        """(d alpha / d t, d sigma / d t), float64; the latter is infinite at t = 0."""
        value, slope = self._value_at(t)
        if self._ends_at_zero:
            return slope, -slope * (1 + value) / self.sigma(t)
        alpha = value.exp()
        return alpha * slope, -slope * alpha.square() / self.sigma(t)

    def time_at(self, half_log_snr: Time) -> Tensor:
        """The inverse of `half_log_snr`, clamped to [0, 1]: Newton's method within the right cell of the table."""
        lam = float64(half_log_snr)
        log_alpha = -0.5 * torch.nn.functional.softplus(-2 * lam).cpu()
        wanted = torch.expm1(log_alpha) if self._ends_at_zero else log_alpha
        cell = torch.searchsorted(-self._nodes, -wanted).clamp(1, self.train_timesteps) - 1
        low, high = self._nodes[cell], self._nodes[cell + 1]
        fraction = ((wanted - low) / (high - low)).clamp(0, 1)
        for _ in range(_NEWTON_STEPS):
            value, slope = self._cubic(cell, fraction)
            fraction = (fraction - (value - wanted) / slope).clamp(0, 1)
        return ((cell + fraction) / self.train_timesteps).to(lam.device)


def _monotone_cubics(nodes: Tensor) -> Tensor:
    """Coefficients (cells, 4) of the powers 0 to 3 of the fraction of a cell, through monotone nodes.

    Source: Fritsch & Butland 1984 (harmonic means of the neighbouring differences as slopes).
    """
    rise = nodes.diff()
    inner = 2 * rise[:-1] * rise[1:] / (rise[:-1] + rise[1:])
    first, last = 1.5 * rise[0] - 0.5 * rise[1], 1.5 * rise[-1] - 0.5 * rise[-2]
    # An end's extrapolated slope keeps the cubic monotone between a half and twice the difference beside it.
    ends = [end.clamp(2 * beside, 0.5 * beside) for end, beside in ((first, rise[0]), (last, rise[-1]))]
    slopes = torch.cat([ends[0][None], inner, ends[1][None]])
    left, right = slopes[:-1], slopes[1:]
    return torch.stack([nodes[:-1], left, 3 * rise - 2 * left - right, left + right - 2 * rise], dim=1)


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
