"""Does a high score mean a bad sample? For samples whose truth is known."""

from __future__ import annotations

import numpy as np

from genuq.analysis.inputs import Array, Column, class_column, column
from genuq.analysis.intervals import Interval, Undefined, bootstrap_interval, weighted_interval
from genuq.analysis.ranks import Groups
from genuq.analysis.resampling import Resampling
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
    if (reason := one_sided(bad_N)) is not None:
        return reason
    return bootstrap_interval(Concordance(score_N, bad_N), len(score_N), bootstrap, seed)


def auroc_within(
    score: Column, bad: Column, classes: Column, *, clusters: Column | None = None, bootstrap: int = 1000, seed: int = 0
) -> Interval | Undefined:
    """`auroc` over the pairs of a bad and a good sample of one class: what a score knows beyond the class.

    A class counts by its pairs, so that one without bad or without good samples does not count.

    Args:
        score: (N,) higher means less trusted.
        bad: (N,) true for bad samples.
        classes: (N,) labels; resampling keeps the size of each (see `Resampling`).
        clusters: (N,) labels of samples that are drawn together, such as those of one noise seed.
        bootstrap, seed: replicates and their seed.
    Returns:
        The interval, or Undefined when no class has both kinds.
    """
    score_N = column(score, "score")
    bad_N = column(bad, "bad", len(score_N)) > 0
    if (reason := one_sided(bad_N)) is not None:
        return reason
    statistic = Concordance(score_N, bad_N, class_column(classes, len(score_N)))
    if not statistic.has_pairs:
        return Undefined("no class has both bad and good samples")
    drawn = Resampling(len(score_N), clusters, classes).weights(bootstrap, seed)
    return weighted_interval(statistic, len(score_N), drawn)


def one_sided(bad_N: Array) -> Undefined | None:
    """Why there is no AUROC where all or none are bad."""
    if len(bad_N) and not bad_N.all() and bad_N.any():
        return None
    return Undefined(f"{'all' if len(bad_N) and bad_N.all() else 'none'} of the {len(bad_N)} samples are bad")


class Concordance:
    """AUROC under integer weights, from the midranks; with strata, over the pairs that lie in one stratum.

    Called with weights (B, N) it returns (B,); NaN in replicates without a pair.

    Args:
        score_N: higher means less trusted.
        bad_N: bool, at least one true.
        strata_N: labels; None: one stratum.
    """

    def __init__(self, score_N: Array, bad_N: Array, strata_N: Array | None = None) -> None:
        stratum_N = Groups(np.zeros(len(score_N)) if strata_N is None else strata_N).group_N
        ranked_N = Groups(score_N).group_N
        self.ranking = Groups(stratum_N * (ranked_N.max() + 1) + ranked_N)  # ranks run on from stratum to stratum
        self.bad_M = np.flatnonzero(bad_N)
        self.strata = Groups(stratum_N[self.bad_M])  # those that hold bad samples
        held_T = np.unique(stratum_N[self.bad_M])
        stratum_G = stratum_N[self.ranking.order_N][self.ranking.starts_G]
        self.first_T, self.last_T = np.searchsorted(stratum_G, held_T), np.searchsorted(stratum_G, held_T, "right") - 1
        self.has_pairs = bool(np.isin(stratum_N[~bad_N], held_T).any())

    def __call__(self, weights_BN: Array) -> Array:
        sizes_BG = self.ranking.totals(weights_BN)
        upper_BG, group_M = np.cumsum(sizes_BG, axis=1), self.ranking.group_N[self.bad_M]
        bad_BM = weights_BN[:, self.bad_M]
        ranks_BM = upper_BG[:, group_M] - (sizes_BG[:, group_M] - 1) / 2
        below_BT = upper_BG[:, self.first_T] - sizes_BG[:, self.first_T]
        size_BT, bad_BT = upper_BG[:, self.last_T] - below_BT, self.strata.totals(bad_BM)
        wins_B = (ranks_BM * bad_BM).sum(1) - (below_BT * bad_BT + bad_BT * (bad_BT + 1) / 2).sum(1)
        return np.asarray(wins_B / (bad_BT * (size_BT - bad_BT)).sum(1))


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
