"""The mean of a column over the samples that a score keeps, for millions of them: one sort, then sums along it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from genuq.analysis.filtering import kept_count
from genuq.analysis.inputs import Array, Column, column
from genuq.analysis.intervals import Interval, bootstrap_weights, percentile_interval
from genuq.analysis.retention import descending_fractions


@dataclass(frozen=True)
class KeptMeans:
    """Means over the lowest-scored fractions, with bootstrap intervals.

    Attributes:
        fraction: kept, from 1 downwards; the first is the mean of all, which random choice keeps in expectation.
        mean: over the kept samples.
        gain: of that mean over the mean of all samples.
    """

    fraction: list[float]
    mean: list[Interval]
    gain: list[Interval]


def kept_means(
    score: Column, values: Column, fractions: Sequence[float], replicates: int = 200, seed: int = 0
) -> KeptMeans:
    """Means of `values` over the samples of lowest score, at each fraction.

    Args:
        score: (N,) higher means less trusted; ties go to the lower index.
        values: (N,) finite.
        fractions: in (0, 1]; 1 is added.
        replicates: of the bootstrap over samples; each filters its own resample anew.
        seed: of the bootstrap.
    """
    score_N = column(score, "score")
    values_N, kept_F = column(values, "values", len(score_N)), descending_fractions(fractions)
    order_N = np.argsort(score_N, kind="stable")
    sorted_N = values_N[order_N]
    found_F = _means(np.ones(len(order_N)), sorted_N, kept_F)
    drawn_RF = np.stack(
        [
            _means(weights_N[order_N], sorted_N, kept_F)
            for weights_BN in bootstrap_weights(len(order_N), replicates, seed)
            for weights_N in weights_BN
        ]
    )
    return KeptMeans(
        kept_F,
        [percentile_interval(float(value), drawn) for value, drawn in zip(found_F, drawn_RF.T)],
        [percentile_interval(float(value), drawn) for value, drawn in zip(_over(found_F), _over(drawn_RF).T)],
    )


def _means(weights_N: Array, sorted_N: Array, fractions: Sequence[float]) -> Array:
    """(F,) weighted means of the first fractions of a sorted column; the sample at the border counts in part."""
    reached_N, sums_N = np.cumsum(weights_N), np.cumsum(weights_N * sorted_N)
    total = reached_N[-1]
    target_F = np.array([kept_count(fraction, total) for fraction in fractions], dtype=np.float64)
    border_F = np.searchsorted(reached_N, target_F)
    before_F = np.where(border_F > 0, reached_N[border_F - 1], 0.0)
    summed_F = np.where(border_F > 0, sums_N[border_F - 1], 0.0)
    return (summed_F + (target_F - before_F) * sorted_N[border_F]) / target_F


def _over(means: Array) -> Array:
    """What each mean gains over that of all samples, the first."""
    return means - means[..., :1]
