"""How f answers to deviations of the state, kept from one time to the next as what it says of the data there."""

from __future__ import annotations

from torch import Tensor

from genuq.processes import Predicted, Process, conversion

_LARGEST_SHARE = 1 - 1e-6


class HeldSlope:
    """Between estimates the last slope stays, not as a number but as the variance of the data that it implies.

    The slope b of f gives that of x0_hat, D = x0_x + x0_f b. For data of variance s^2 it would be
    alpha D = snr s^2 / (1 + snr s^2), the share of the state's variance that is signal; s^2 does not change along the
    way, b does. What the other pixels do to x0_hat stays as it is, so that in f it scales with 1 / x0_f.

    Args:
        slope: b at time t, per pixel.
        others: the rest of f's answer to each probe (probes, B, ...), in units of the image's root mean V.
    """

    def __init__(self, process: Process, prediction: Predicted, t: float, slope: Tensor, others: Tensor) -> None:
        self.process, self.prediction = process, prediction
        self.t, self.slope, self.others = t, slope, others
        x0_x, x0_f, *_ = (float(number) for number in conversion(prediction, process, t))
        share = (float(process.alpha(t)) * (x0_x + x0_f * slope)).clamp(0, _LARGEST_SHARE)
        self._x0_f = x0_f
        self._data_variance = share / (1 - share) / self._snr(t) if self._snr(t) > 0 else None

    def _snr(self, t: float) -> float:
        return float((self.process.alpha(t) / self.process.sigma(t)).square())

    def at(self, t: float) -> tuple[Tensor, Tensor]:
        """(slope, what the other pixels do to f) at a time."""
        if t == self.t or self._data_variance is None:
            return self.slope, self.others
        x0_x, x0_f, *_ = (float(number) for number in conversion(self.prediction, self.process, t))
        signal = self._snr(t) * self._data_variance
        return (signal / (1 + signal) / self.process.alpha(t) - x0_x) / x0_f, self.others * (self._x0_f / x0_f)
