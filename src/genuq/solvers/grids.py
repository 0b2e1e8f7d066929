"""Grids of times that a solver walks: even in time or in log SNR, EDM's, and the timesteps of a table."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from genuq.errors import ConfigurationError
from genuq.processes import Process
from genuq.processes.tabulated import Tabulated

UNIFORM, LOG_SNR, KARRAS, TIMESTEPS = SPACINGS = ("uniform_time", "uniform_log_snr", "karras", "timesteps")
LOWEST_HALF_LOG_SNR = math.log(0.001 / 0.999)  # of flow matching at t = 0.999
_NEARLY_CLEAN = 1e-3  # the time at which grids of a path that ends without noise have their least
_ROUNDING = 1e-12  # of times that are an end of the path
_SAME = 1e-6  # relative, of noise levels that are one


@dataclass(frozen=True)
class KarrasLevels:
    """EDM's levels of noise, sigma / alpha: even in their power of 1 / rho.

    Attributes:
        rho: 7 in the source; the larger, the shorter the steps at little noise.
        sigma_min: the last level, from which the final step goes to x0_hat; None: that of the path at its end, at
            t = 0.001 of a path that ends without noise.
        sigma_max: the first; None: that at which the path begins, 999 where it is larger.

    Source: Karras et al. 2022, equation 5.
    """

    rho: float = 7.0
    sigma_min: float | None = None
    sigma_max: float | None = None

    def times(self, process: Process, steps: int, start: float) -> list[float]:
        """As many times as steps, decreasing.

        Raises:
            ConfigurationError: a level that the path does not reach, or not in order.
        """
        first, last = self._bounds(process, start)
        powers = torch.linspace(first ** (1 / self.rho), last ** (1 / self.rho), steps, dtype=torch.float64)
        times = process.time_at(-powers.pow(self.rho).log()).tolist()
        return [next((end for end in (0.0, 1.0) if abs(time - end) < _ROUNDING), time) for time in times]

    def _bounds(self, process: Process, start: float) -> tuple[float, float]:
        """(first, last) level."""
        most, least = _level(process, start), _level(process, 0.0)
        first = min(most, math.exp(-LOWEST_HALF_LOG_SNR)) if math.isinf(most) else most
        last = least or _level(process, _NEARLY_CLEAN)
        for key, level in (("sigma_max", self.sigma_max), ("sigma_min", self.sigma_min)):
            if level is not None and not least * (1 - _SAME) <= level <= most * (1 + _SAME):
                raise ConfigurationError(
                    f"sampler.{key} = {level:g}, but the noise of this model's process over its data goes from "
                    f"{least:g} to {most:g}: choose a level between them, or leave it out."
                )
        first, last = self.sigma_max or first, self.sigma_min or last
        if first <= last:
            raise ConfigurationError(
                f"sampler.sigma_min = {last:g} is not below sampler.sigma_max = {first:g}: sampling goes from the "
                "largest noise to the least."
            )
        return first, last


Spacing = str | KarrasLevels
"""One of `SPACINGS`, or EDM's with numbers of its own."""


def spacing_name(spacing: Spacing) -> str:
    return KARRAS if isinstance(spacing, KarrasLevels) else spacing


def _level(process: Process, t: float) -> float:
    """sigma / alpha."""
    return float(process.half_log_snr(t).neg().exp())


def grid(process: Process, steps: int, start: float = 1.0, spacing: Spacing = UNIFORM) -> list[float]:
    """steps + 1 decreasing times from `start` to 0.

    Args:
        spacing: `uniform_time`; `uniform_log_snr` (uniform in lambda down to t = 1e-3, then 0); `karras` or
            `KarrasLevels`, whose last two times are both 0 where the path's least noise is not nought: of that noise,
            and of none (a single step ends with that noise); `timesteps`: evenly over the network's own timesteps, the
            first and the last included, rounded, as guided-diffusion respaces a table of betas.

    Raises:
        ConfigurationError: fewer than one step, an unknown spacing, or timesteps of a path that has none.
    """
    if steps < 1:
        raise ConfigurationError(f"sampler.steps = {steps}; at least 1 is needed.")
    if spacing == UNIFORM:
        return torch.linspace(start, 0, steps + 1, dtype=torch.float64).tolist()
    if spacing == LOG_SNR:
        first, last = (process.half_log_snr(t) for t in (min(start, 0.999), _NEARLY_CLEAN))
        inner = process.time_at(torch.lerp(first, last, torch.linspace(0, 1, steps, dtype=torch.float64)))
        return [*inner.tolist(), 0.0]
    if spacing == TIMESTEPS:
        return [*_timesteps(process, steps).tolist(), 0.0]
    if spacing == KARRAS:
        spacing = KarrasLevels()
    if isinstance(spacing, KarrasLevels):
        return [*spacing.times(process, steps, start), 0.0]
    raise ConfigurationError(f"sampler.spacing = '{spacing}'; choose {' or '.join(SPACINGS)}.")


def _timesteps(process: Process, steps: int) -> Tensor:
    """The times of entries of a table, from its last to its first."""
    if not isinstance(process, Tabulated):
        raise ConfigurationError(
            f"sampler.spacing = 'timesteps' is of a process with a table of betas, and this model's is "
            f"{type(process).__name__}: choose sampler.spacing=uniform_time."
        )
    count = process.train_timesteps
    if steps > count:
        raise ConfigurationError(f"sampler.steps = {steps}, but the table has {count} timesteps: choose fewer.")
    return (torch.linspace(count - 1, 0, steps, dtype=torch.float64).round() + 1) / count
