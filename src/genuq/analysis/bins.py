"""Metrics of quantile bins of a score: does a set of uncertain samples have worse FID, precision, recall?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genuq.analysis.filtering import quantile_groups
from genuq.analysis.inputs import Array, Column, column
from genuq.analysis.intervals import Interval, Undefined, half_samples, percentile_interval
from genuq.analysis.ranks import average_ranks
from genuq.analysis.subsets import SubsetJudge
from genuq.errors import DataError


@dataclass(frozen=True)
class Bins:
    """One metric in bins of equal size, from the lowest to the highest scores.

    `centre` is the mean score of each bin; `spearman` correlates the bin's rank with the metric.
    """

    centre: list[float]
    value: list[float]
    spearman: Interval | Undefined


def most_bins(count: int, k: int) -> int:
    """Bins such that half of a bin still has k neighbours for each of its samples."""
    return count // (2 * (k + 2))


def quantile_bins(
    score: Column, judge: SubsetJudge, *, bins: int = 8, resamples: int = 100, seed: int = 0
) -> dict[str, Bins]:
    """Metrics by name over `bins` quantile bins of a score.

    Intervals come from half-samples, binned and judged anew; as a half's bins are noisier, they err on the wide side.

    Raises:
        DataError: fewer than two bins, or more than the samples allow.
    """
    score_N = column(score, "score", judge.count)
    if not 2 <= bins <= most_bins(judge.count, judge.k):
        raise DataError(
            f"{judge.count} samples with k = {judge.k} allow 2 to {most_bins(judge.count, judge.k)} bins, not {bins}. "
            "Change the key metric.bins, or raise sampler.samples."
        )
    samples = [np.arange(judge.count), *half_samples(judge.count, resamples, seed)]
    values_SBK = np.stack([_binned(score_N, rows, judge, bins) for rows in samples])
    spearman_SK = _spearman_with_rank(values_SBK)
    centre = [float(score_N[rows].mean()) for rows in quantile_groups(score_N, bins)]
    return {
        name: Bins(centre, values_SBK[0, :, place].tolist(), _interval(spearman_SK[:, place]))
        for place, name in enumerate(judge.metrics)
    }


def _binned(score_N: Array, rows: Array, judge: SubsetJudge, bins: int) -> Array:
    return np.stack([judge(rows[group]) for group in quantile_groups(score_N[rows], bins)])


def _spearman_with_rank(values_SBK: Array) -> Array:
    """(S, metrics) Spearman correlation of each column of bins with 1..B; NaN where all bins are equal."""
    ranks_SBK = average_ranks(values_SBK.swapaxes(1, 2)).swapaxes(1, 2)
    ranks_SBK -= ranks_SBK.mean(axis=1, keepdims=True)
    steps_B1 = np.arange(ranks_SBK.shape[1])[:, None] - (ranks_SBK.shape[1] - 1) / 2
    with np.errstate(invalid="ignore"):
        return (ranks_SBK * steps_B1).sum(1) / np.sqrt(np.square(ranks_SBK).sum(1) * np.square(steps_B1).sum())


def _interval(spearman_S: Array) -> Interval | Undefined:
    if np.isnan(spearman_S[0]):
        return Undefined("every bin has the same value")
    return percentile_interval(float(spearman_S[0]), spearman_S[np.isfinite(spearman_S)])
