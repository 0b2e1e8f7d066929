"""Which of two scores finds the bad samples better? The difference of their AUROCs on the same samples.

Two overlapping intervals are no test: scores of one set of samples go together, and their difference is known better
than either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from genuq.analysis.detection import Concordance, one_sided
from genuq.analysis.inputs import Array, Column, class_column, column
from genuq.analysis.intervals import STANDARD_ERRORS, Interval, Undefined, weighted_interval
from genuq.analysis.ranks import average_ranks
from genuq.analysis.resampling import Resampling

LEAST = 2  # bad and good samples that a variance needs


@dataclass(frozen=True)
class DeLong:
    """AUROCs of K scores of the same samples, and their covariance."""

    aurocs_K: Array
    covariance_KK: Array


@dataclass(frozen=True)
class Difference:
    """The AUROC of a score less that of another, and the two-sided p-value of no difference."""

    interval: Interval
    p: float


def delong(scores: Sequence[Column], bad: Column) -> DeLong | Undefined:
    """AUROCs and their covariance in closed form, from midranks: O(N log N) for each score.

    Args:
        scores: K columns (N,), higher means less trusted.
        bad: (N,) true for bad samples; samples are taken to be independent.
    Returns:
        Undefined with fewer than two bad or two good samples.
    Source: DeLong, DeLong & Clarke-Pearson, Biometrics 1988; from midranks: Sun & Xu, IEEE Signal Processing Letters
        2014.
    """
    bad_N = column(bad, "bad") > 0
    scores_KN = np.stack([column(score, "score", len(bad_N)) for score in scores])
    bad_count, good_count = int(bad_N.sum()), int((~bad_N).sum())
    if min(bad_count, good_count) < LEAST:
        return Undefined(f"{bad_count} bad and {good_count} good samples are too few for a variance")
    ranks_KN = average_ranks(scores_KN)
    # The share of good samples below each bad one, and of bad ones above each good one; ties count half.
    below_KM = (ranks_KN[:, bad_N] - average_ranks(scores_KN[:, bad_N])) / good_count
    above_KG = 1 - (ranks_KN[:, ~bad_N] - average_ranks(scores_KN[:, ~bad_N])) / bad_count
    covariance_KK = np.atleast_2d(np.cov(below_KM)) / bad_count + np.atleast_2d(np.cov(above_KG)) / good_count
    return DeLong(below_KM.mean(1), covariance_KK)


def delong_difference(score: Column, other: Column, bad: Column) -> Difference | Undefined:
    """AUROC of `score` less that of `other`, with DeLong's interval and test; see `delong`."""
    found = delong([score, other], bad)
    if isinstance(found, Undefined):
        return found
    gap = float(found.aurocs_K[0] - found.aurocs_K[1])
    contrast = np.array([1.0, -1.0])
    error = float(np.sqrt(max(contrast @ found.covariance_KK @ contrast, 0.0)))
    reach = STANDARD_ERRORS * error
    p = float(2 * ndtr(-abs(gap) / error)) if error > 0 else float(gap == 0)
    return Difference(Interval(gap, max(gap - reach, -1.0), min(gap + reach, 1.0)), p)


def auroc_difference(
    score: Column,
    other: Column,
    bad: Column,
    *,
    classes: Column | None = None,
    within: bool = False,
    clusters: Column | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
) -> Interval | Undefined:
    """AUROC of `score` less that of `other`, with the interval of a bootstrap that draws both together.

    Args:
        score, other: (N,) higher means less trusted.
        bad: (N,) true for bad samples.
        classes: (N,) labels, whose mix resampling keeps.
        within: over the pairs of one class only, as `auroc_within`.
        clusters: (N,) labels of samples that are drawn together, such as those of one noise seed.
        bootstrap, seed: replicates and their seed.
    """
    bad_N = column(bad, "bad") > 0
    count = len(bad_N)
    if (reason := one_sided(bad_N)) is not None:
        return reason
    strata_N = class_column(classes, count) if within and classes is not None else None
    ours, theirs = (Concordance(column(one, "score", count), bad_N, strata_N) for one in (score, other))
    if not ours.has_pairs:
        return Undefined("no class has both bad and good samples")
    drawn = Resampling(count, clusters, classes).weights(bootstrap, seed)
    return weighted_interval(lambda weights_BN: ours(weights_BN) - theirs(weights_BN), count, drawn)
