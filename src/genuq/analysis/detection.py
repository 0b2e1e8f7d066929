"""Does a high score mean a bad sample? For samples whose truth is known."""

from __future__ import annotations

import numpy as np

from genuq.analysis.inputs import Array, Column, column
from genuq.analysis.intervals import Interval, Undefined, bootstrap_interval
from genuq.analysis.ranks import Groups
from genuq.errors import DataError


def auroc(score: Column, bad: Column, *, bootstrap: int = 1000, seed: int = 0) -> Interval | Undefined:
    """Probability that a bad sample has a higher score than a good one, ties counting half: 1/2 is chance.

    Args:
        score: (N,) higher means less trusted. A constant score gets exactly 1/2.
        bad: (N,) true for bad samples.
        bootstrap: replicates; those without a bad or without a good sample are left out.
        seed: of the replicates.
    Returns:
        The interval, or Undefined when all or none of the samples are bad.
    """
    score_N = column(score, "score")
    bad_N = column(bad, "bad", len(score_N)) > 0
    if bad_N.all() or not bad_N.any():
        return Undefined(f"{'all' if len(bad_N) and bad_N.all() else 'none'} of the {len(bad_N)} samples are bad")
    groups = Groups(score_N)

    def statistic(weights_BN: Array) -> Array:
        bad_BN = weights_BN * bad_N
        bad_B = bad_BN.sum(1)
        pairs_B = bad_B * (weights_BN.sum(1) - bad_B)
        return ((groups.midranks(weights_BN) * bad_BN).sum(1) - bad_B * (bad_B + 1) / 2) / pairs_B

    return bootstrap_interval(statistic, len(score_N), bootstrap, seed)


def ause(score: Column, error: Column, *, bootstrap: int = 1000, seed: int = 0) -> Interval | Undefined:
    """Area under the sparsification error, relative to the mean error: 0 orders the samples as the error itself does.

    The sparsification curve is the mean error of the lowest-scored t samples, averaged over t = 1..N; the same with the
    samples ordered by their error is subtracted. Tied scores count as their average over all orders, so that a constant
    score gets the curve of a random one.

    Args:
        score: (N,) higher means less trusted.
        error: (N,) >= 0, for instance 1 for bad samples and 0 for good ones.
        bootstrap, seed: replicates and their seed.
    Returns:
        The interval, or Undefined when no sample has an error.
    Source: Ilg et al., Uncertainty Estimates and Multi-Hypotheses Networks for Optical Flow, ECCV 2018, section 5.
    """
    score_N = column(score, "score")
    error_N = column(error, "error", len(score_N))
    if (error_N < 0).any() or not np.isfinite(error_N).all():
        raise DataError("'error' must be finite and not negative: it is what the score should predict.")
    if not error_N.any():
        return Undefined(f"none of the {len(error_N)} samples has an error")
    by_score, by_error = Groups(score_N), Groups(error_N)

    def statistic(weights_BN: Array) -> Array:
        mean_B = (weights_BN * error_N).sum(1) / weights_BN.sum(1)
        excess_B = _kept_error(by_score, error_N, weights_BN) - _kept_error(by_error, error_N, weights_BN)
        return np.maximum(excess_B / mean_B, 0.0)

    return bootstrap_interval(statistic, len(score_N), bootstrap, seed)


def _kept_error(groups: Groups, error_N: Array, weights_BN: Array) -> Array:
    """(B,) mean over t of the expected mean error of the lowest t samples.

    In a group of g ties after the L samples below it, t = L + 1 .. L + g, that expectation is
    mean_g + (sum_L - L mean_g) / t, so the sum over t needs only harmonic numbers.
    """
    size_BG, error_BG = groups.totals(weights_BN), groups.totals(weights_BN * error_N)
    mean_BG = error_BG / np.maximum(size_BG, 1)
    upper_BG = np.cumsum(size_BG, axis=1)
    below_BG, error_below_BG = upper_BG - size_BG, np.cumsum(error_BG, axis=1) - error_BG
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, weights_BN[0].sum() + 1))])
    steps_BG = harmonic[upper_BG.astype(np.int64)] - harmonic[below_BG.astype(np.int64)]
    return (size_BG * mean_BG + (error_below_BG - below_BG * mean_BG) * steps_BG).sum(1) / weights_BN.sum(1)
