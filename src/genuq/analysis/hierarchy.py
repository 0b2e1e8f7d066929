"""Intervals over training seeds and samples: seeds are drawn with replacement, and of each drawn one its samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, stdtr

from genuq.analysis.inputs import Array
from genuq.analysis.intervals import Interval, Undefined, percentile_interval
from genuq.analysis.resampling import Resampling
from genuq.analysis.seeds import student
from genuq.errors import DataError
from genuq.randomness import key


@dataclass(frozen=True)
class TrainingSeed:
    """What one training says: a weighted statistic of its samples ((B, N) weights to (B,)), and how they are drawn."""

    statistic: Callable[[Array], Array]
    resampling: Resampling


@dataclass(frozen=True)
class Drawn:
    """A statistic of one training: its value, and those of the replicates of its samples (R,)."""

    value: float
    replicates_R: Array


@dataclass(frozen=True)
class Pooled:
    """A statistic over training seeds.

    Attributes:
        interval: its mean over them, with the percentiles of the replicates.
        error: standard deviation of the replicates; of several trainings, s / sqrt(S) with s their values' own (S - 1).
        freedom: S - 1 degrees of freedom of the error; None for one training.

    Of S trainings the replicates vary by (S - 1) / S of what trainings vary: where that is all the variation, the
    interval of three covers 75 % in place of 95 %. `student` and `p` hold for any S, and wherever the variation is.
    """

    interval: Interval
    error: float
    freedom: int | None = None

    @property
    def student(self) -> Interval:
        """Student's interval over trainings; of one training, that of the replicates."""
        if self.freedom is None:
            return self.interval
        return student(self.interval.value, self.error**2, self.freedom)[0]

    def p(self, no_effect: float = 0.0) -> float:
        """Two-sided p-value of `no_effect`: Student's over trainings; of one, taking the replicates to be normal."""
        gap = abs(self.interval.value - no_effect)
        if self.error <= 0:
            return float(gap == 0)
        below = ndtr(-gap / self.error) if self.freedom is None else stdtr(self.freedom, -gap / self.error)
        return float(2 * below)


def pooled(drawn: Sequence[Drawn], seed: int = 0) -> Pooled | Undefined:
    """`hierarchical_interval` of statistics whose replicates are there already, which each place draws from.

    Args:
        drawn: of each training; of one, its own replicates are what is told.
        seed: of the draws.
    """
    values_S = np.array([one.value for one in drawn])
    value, finite = float(values_S.mean()), [_finite(one.replicates_R) for one in drawn]
    if not np.isfinite(value) or not all(map(len, finite)):
        return Undefined("the statistic of a training seed is not defined")
    if len(finite) == 1:
        return Pooled(percentile_interval(value, finite[0]), float(finite[0].std()))
    error = float(values_S.std(ddof=1)) / len(finite) ** 0.5
    return Pooled(percentile_interval(value, _drawn_again(finite, seed)), error, len(finite) - 1)


def _finite(replicates_R: Array) -> Array:
    return replicates_R[np.isfinite(replicates_R)]


def _drawn_again(replicates: Sequence[Array], seed: int) -> Array:
    """(R,) means over S drawn seeds, each place with a replicate of its own."""
    source = np.random.default_rng(key(seed, len(replicates), "training seeds"))
    shape = (max(map(len, replicates)), len(replicates))
    chosen_RS, share_RS = source.integers(0, len(replicates), size=shape), source.random(shape)
    values_RS = np.empty(shape)
    for place, one in enumerate(replicates):
        drawn_RS = chosen_RS == place
        values_RS[drawn_RS] = one[(share_RS[drawn_RS] * len(one)).astype(np.int64)]
    return np.asarray(values_RS.mean(1))


def hierarchical_interval(seeds: Sequence[TrainingSeed], replicates: int = 1000, seed: int = 0) -> Interval | Undefined:
    """Mean of a statistic over training seeds, with a percentile bootstrap over seeds and, within them, samples.

    The variance of the replicates of a mean over S seeds of means over n samples is, with variances that divide by
    counts, (variance of the seeds' means) / S + (mean over seeds of the variance of their samples) / (S n). With few
    seeds the first part is too small by (S - 1) / S, and there are only (2 S - 1 over S) different draws of seeds:
    with three, hold the interval beside Student's over seeds (`seeds.estimate`).

    Args:
        seeds: of each training its statistic and samples; two or more.
        replicates: of the bootstrap.
        seed: of the replicates.
    Source: Davison & Hinkley, Bootstrap Methods and their Application, 1997, section 3.8.
    """
    drawn_R = hierarchical_replicates(seeds, replicates, seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        values_S = [float(one.statistic(np.ones((1, one.resampling.count)))[0]) for one in seeds]
    value = float(np.mean(values_S))
    drawn_R = drawn_R[np.isfinite(drawn_R)]
    if not np.isfinite(value) or not len(drawn_R):
        return Undefined("the statistic of a training seed is not defined")
    return percentile_interval(value, drawn_R)


def hierarchical_replicates(seeds: Sequence[TrainingSeed], replicates: int, seed: int) -> Array:
    """(R,) means over S drawn seeds, each place with samples of its own; NaN where one has no value."""
    if len(seeds) < 2:
        raise DataError(f"{len(seeds)} training seeds have no spread: give two or more, or an interval over samples.")
    source = np.random.default_rng(key(seed, len(seeds), "training seeds"))
    chosen_RS = source.integers(0, len(seeds), size=(replicates, len(seeds)))
    values_RS = np.empty(chosen_RS.shape)
    for place, one in enumerate(seeds):
        drawn_RS = chosen_RS == place
        values_RS[drawn_RS] = _replicates(one, int(drawn_RS.sum()), key(seed, place, "samples of a training seed"))
    return np.asarray(values_RS.mean(1))


def _replicates(one: TrainingSeed, count: int, seed: int) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.concatenate([np.empty(0), *map(one.statistic, one.resampling.weights(count, seed))])
