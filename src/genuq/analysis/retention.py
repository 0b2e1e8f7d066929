"""Filtering curves: what is left when a score keeps its lowest fraction, beside random subsets of the same size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.integrate import trapezoid  # np.trapezoid came with NumPy 2.0, np.trapz left with it

from genuq.analysis.filtering import keep_lowest
from genuq.analysis.inputs import Array, Column, class_column, column
from genuq.analysis.intervals import LEVEL, Interval, half_samples, standard_interval
from genuq.analysis.score_entries import Curve
from genuq.analysis.subsets import SubsetJudge
from genuq.errors import ConfigurationError, DataError
from genuq.randomness import CONTROL, key

FRACTIONS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)


@dataclass(frozen=True)
class Retention:
    """Curves and gains by metric. A gain is the area between the method's and the random curve over the width of the
    fractions, that is the mean improvement over random in the metric's units: positive is better for every metric."""

    curves: dict[str, Curve]
    gains: dict[str, Interval]


class RetentionStudy:
    """What all scores of one set of samples share: the judge, the half-samples, and the random control.

    Args:
        judge: of the samples' features.
        fractions: kept, in (0, 1]; at least two. 1 is added if it is missing.
        classes: (N,) labels to filter within each class, method and control alike; None filters globally.
        random_repeats: random subsets of each size.
        resamples: half-samples for the intervals.
        seed: of both.
    """

    def __init__(
        self,
        judge: SubsetJudge,
        *,
        fractions: Sequence[float] = FRACTIONS,
        classes: Column | None = None,
        random_repeats: int = 50,
        resamples: int = 100,
        seed: int = 0,
    ) -> None:
        self.judge, self.fractions = judge, descending_fractions(fractions)
        require_samples(judge.count, judge.k, self.fractions[-1])
        self.classes_N = None if classes is None else class_column(classes, judge.count)
        everything = np.arange(judge.count)
        self.samples = [everything, *half_samples(judge.count, resamples, seed)]
        self.unfiltered_SK = np.stack([judge(rows) for rows in self.samples])
        self.random_LFK = np.stack([self._random(0, seed, repeat) for repeat in range(random_repeats)])
        self.expected_SFK = self._expected_random(seed, random_repeats)

    def evaluate(self, score: Column) -> Retention:
        """Curves and gains of one score."""
        score_N = column(score, "score", self.judge.count)
        values_SFK = np.stack([self._filtered(score_N, sample) for sample in range(len(self.samples))])
        curves = self._curves(values_SFK)
        return Retention(
            {name: self._curve(curves, place) for place, name in enumerate(self.judge.metrics)},
            self._gains(values_SFK),
        )

    def _filtered(self, score_N: Array, sample: int) -> Array:
        """(F, metrics) of one of the samples filtered at every fraction."""
        rows = self.samples[sample]
        classes = None if self.classes_N is None else self.classes_N[rows]
        kept = [rows[keep_lowest(score_N[rows], fraction, classes)] for fraction in self.fractions[1:]]
        return np.concatenate([self.unfiltered_SK[sample][None], self.judge.nested(kept)])

    def _random(self, sample: int, seed: int, repeat: int) -> Array:
        """A random control is the filter of a random score."""
        return self._filtered(np.random.default_rng(key(seed, repeat, CONTROL)).random(self.judge.count), sample)

    def _expected_random(self, seed: int, first: int) -> Array:
        """(S, F, metrics) expected random curve of the whole and of every half.

        A random subset of a half differs from the half, in expectation, by the effect of its size alone. One subset of
        each half, averaged over the halves, measures that; dozens for each half would cost as much as all the scores.
        """
        halves = range(1, len(self.samples))
        subsets_HFK = np.stack([self._random(sample, seed, first + sample) for sample in halves])
        size_effect_FK = (subsets_HFK - self.unfiltered_SK[1:, None]).mean(0)
        return np.concatenate([self.random_LFK.mean(0)[None], self.unfiltered_SK[1:, None] + size_effect_FK])

    def _curves(self, values_SFK: Array) -> dict[str, Array]:
        low_FK, high_FK = standard_interval(values_SFK[0], values_SFK[1:], *self.judge.bounds)
        random_low, random_high = np.quantile(self.random_LFK, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
        return {
            "value": values_SFK[0],
            "low": low_FK,
            "high": high_FK,
            "random_value": self.expected_SFK[0],
            "random_low": random_low,
            "random_high": random_high,
        }

    def _curve(self, curves: dict[str, Array], place: int) -> Curve:
        return Curve(list(self.fractions), **{name: values[:, place].tolist() for name, values in curves.items()})

    def _gains(self, values_SFK: Array) -> dict[str, Interval]:
        gap_SFK = (values_SFK - self.expected_SFK) * self.judge.better
        width = self.fractions[0] - self.fractions[-1]
        gain_SK = trapezoid(gap_SFK[:, ::-1], x=self.fractions[::-1], axis=1) / width
        unbounded = np.full(gain_SK.shape[1], np.inf)
        low_K, high_K = standard_interval(gain_SK[0], gain_SK[1:], -unbounded, unbounded)
        parts = zip(self.judge.metrics, gain_SK[0], low_K, high_K, strict=True)
        return {name: Interval(float(value), float(low), float(high)) for name, value, low, high in parts}


def retention_curves(score: Column, judge: SubsetJudge, **options: object) -> Retention:
    """Curves and gains of a single score; the options are those of `RetentionStudy`, which several scores can share."""
    return RetentionStudy(judge, **options).evaluate(score)  # type: ignore[arg-type]


def descending_fractions(fractions: Sequence[float]) -> list[float]:
    """Distinct fractions from 1 downwards."""
    found = sorted({1.0, *(float(fraction) for fraction in fractions)}, reverse=True)
    if len(found) < 2 or found[-1] <= 0 or found[0] > 1:
        raise ConfigurationError(f"Fractions {list(fractions)} must lie in (0, 1], one below 1. Key: metric.fractions.")
    return found


def require_samples(count: int, k: int, smallest_fraction: float) -> None:
    """Half of the samples, filtered to the smallest fraction, must still have k neighbours each."""
    needed = int(np.ceil(2 * (k + 2) / smallest_fraction))
    if count < needed:
        raise DataError(
            f"{count} samples are too few to judge the lowest {smallest_fraction:.0%} of their halves with k = {k}: "
            f"at least {needed} are needed. Raise sampler.samples, or lower metric.k or the range of metric.fractions."
        )
