"""A variance-preserving path through a table of alpha: monotone cubics between the entries."""

from __future__ import annotations

import torch
from torch import Tensor

from genuq.processes.base import Process, Time, float64

_NEWTON_STEPS = 6  # from a linear guess; the cubics are nearly linear, and 4 reach rounding


class Tabulated(Process):
    """alpha of a table, sigma = sqrt(1 - alpha^2); entry n is at t = (n + 1) / train_timesteps, t = 0 is clean data.

    Between the table's nodes log(alpha) is a monotone cubic (alpha itself where it ends at 0): the derivative is
    continuous, as the order of convergence of Euler's and Heun's methods requires.

    Args:
        values: float64 (train_timesteps,), decreasing: log(alpha), or alpha - 1 where alpha ends at 0.
        ends_at_zero: whether alpha does, and the values are alpha - 1.
    """

    def __init__(self, values: Tensor, ends_at_zero: bool) -> None:
        self.train_timesteps, self._ends_at_zero = len(values), ends_at_zero
        self._nodes = torch.cat([torch.zeros(1, dtype=torch.float64), values])
        self._coefficients = _monotone_cubics(self._nodes)

    @property
    def zero_terminal_snr(self) -> bool:
        """Whether nothing of the data is left at t = 1: `epsilon` says nothing of x_0 there."""
        return self._ends_at_zero

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
