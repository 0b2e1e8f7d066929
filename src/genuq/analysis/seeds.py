"""What several seeds of one setting say: the mean with its standard error, and whether two settings differ.

A seed is one whole run. Intervals over seeds are Student's, for the mean of normal readings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from genuq.analysis.inputs import Array
from genuq.analysis.intervals import LEVEL, Interval
from genuq.analysis.score_entries import Curve


@dataclass(frozen=True)
class Reading:
    """What one run says: a value, and the run's own 95 % interval where it has one."""

    value: float
    low: float | None = None
    high: float | None = None


Readings = Mapping[str, Reading]  # by seed
UNBOUNDED = (-math.inf, math.inf)


@dataclass(frozen=True)
class Estimate:
    """A setting over its seeds.

    Attributes:
        n: seeds.
        mean: of their values.
        error: standard error of the mean; None with one seed.
        low, high: 95 % interval, or None where there is none.
        source: of the interval: `seeds`, or with one seed `run` (its own, which knows no other seed), or `none`.
    """

    n: int
    mean: float
    error: float | None
    low: float | None
    high: float | None
    source: str


def estimate(readings: Readings, bounds: tuple[float, float] = UNBOUNDED) -> Estimate | None:
    """Mean, standard error and interval; None without a reading.

    Args:
        bounds: of the measure; what Student's interval has beyond them is cut off, which costs no coverage.
    """
    values = np.array([reading.value for reading in readings.values()], dtype=np.float64)
    if not len(values):
        return None
    if len(values) > 1:
        found, error = student(float(values.mean()), float(values.var(ddof=1)) / len(values), len(values) - 1)
        low, high = max(found.low, bounds[0]), min(found.high, bounds[1])
        return Estimate(len(values), found.value, error, low, high, "seeds")
    (only,) = readings.values()
    if only.low is None or only.high is None:
        return Estimate(1, only.value, None, None, None, "none")
    return Estimate(1, only.value, None, only.low, only.high, "run")


def difference(ours: Readings, other: Readings) -> tuple[Interval | None, str]:
    """Mean of `ours` minus that of `other` with its 95 % interval, and how it was found.

    `paired`: over the seeds that both have, where there are two or more: what a seed does to both cancels.
    `welch`: both have several seeds, but not the same. Source: Welch, Biometrika 1947.
    `single`: one of them has one seed, which is taken to vary as the seeds of the other do. Source: Crawford & Howell,
        Comparing an individual's test score against norms, The Clinical Neuropsychologist 1998.
    `intervals`: both have one seed; from the runs' own intervals, as if they were independent. Source: Zou & Donner,
        Construction of confidence limits about effect measures, Statistics in Medicine 2008.
    `none`: there is nothing to tell them apart by, and no interval.
    """
    shared = [seed for seed in ours if seed in other]
    if len(shared) > 1:
        gaps = _values(ours, shared) - _values(other, shared)
        return student(float(gaps.mean()), float(gaps.var(ddof=1)) / len(gaps), len(gaps) - 1)[0], "paired"
    if len(ours) > 1 and len(other) > 1:
        return _welch(_values(ours, ours), _values(other, other)), "welch"
    if len(ours) > 1 or len(other) > 1:
        return _single(_values(ours, ours), _values(other, other)), "single"
    found = _from_intervals(estimate(ours), estimate(other))
    return found, "none" if found is None else "intervals"


def _values(readings: Readings, seeds: object) -> Array:
    return np.array([readings[seed].value for seed in seeds], dtype=np.float64)  # type: ignore[attr-defined]


def student(mean: float, variance: float, freedom: float) -> tuple[Interval, float]:
    """Student's interval of a mean, and the standard error.

    Args:
        mean: of normal readings.
        variance: of the mean.
        freedom: degrees of freedom of the variance.
    """
    error = math.sqrt(variance)
    reach = float(stdtrit(freedom, (1 + LEVEL) / 2)) * error
    return Interval(mean, mean - reach, mean + reach), error


def _welch(ours: Array, other: Array) -> Interval:
    parts = np.array([ours.var(ddof=1) / len(ours), other.var(ddof=1) / len(other)])
    variance, spread = float(parts.sum()), float((parts**2 / [len(ours) - 1, len(other) - 1]).sum())
    freedom = variance**2 / spread if spread else 1.0
    return student(float(ours.mean() - other.mean()), variance, freedom)[0]


def _single(ours: Array, other: Array) -> Interval:
    several = max(ours, other, key=len)
    variance = float(several.var(ddof=1)) * (1 + 1 / len(several))
    return student(float(ours.mean() - other.mean()), variance, len(several) - 1)[0]


def _from_intervals(ours: Estimate | None, other: Estimate | None) -> Interval | None:
    if ours is None or other is None or None in (ours.low, ours.high, other.low, other.high):
        return None
    assert ours.low is not None and ours.high is not None and other.low is not None and other.high is not None
    gap = ours.mean - other.mean
    below = math.hypot(ours.mean - ours.low, other.high - other.mean)
    above = math.hypot(ours.high - ours.mean, other.mean - other.low)
    return Interval(gap, gap - below, gap + above)


@dataclass(frozen=True)
class Gain:
    """A metric against the fraction kept, less that of as many samples at random, over seeds."""

    fraction: tuple[float, ...]
    over_seeds: tuple[Estimate, ...]


def gain(curves: Mapping[str, Curve]) -> Gain | None:
    """What filtering by a score changes against random choice, over the seeds whose curves have the same fractions.

    Args:
        curves: by seed.
    """
    fractions = {tuple(curve.fraction) for curve in curves.values()}
    if len(fractions) != 1:
        return None
    (fraction,) = fractions
    gaps = {seed: _over_random(curve) for seed, curve in curves.items()}
    found = [
        estimate({seed: Reading(float(gap[place])) for seed, gap in gaps.items()}) for place in range(len(fraction))
    ]
    return Gain(fraction, tuple(entry for entry in found if entry is not None))


def _over_random(curve: Curve) -> Array:
    return np.subtract(np.asarray(curve.value, np.float64), np.asarray(curve.random_value, np.float64))
