"""Rank correlation of a score with a per-sample target, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from genuq.analysis.inputs import Array, Column, class_column, column
from genuq.analysis.intervals import Interval, Undefined, bootstrap_interval
from genuq.analysis.ranks import Groups
from genuq.errors import ConfigurationError, did_you_mean

STATISTICS = ("spearman", "kendall", "partial_spearman")
ROUNDING = 1e-12  # of the variance: what is left below it is rounding, not signal


def correlation(
    score: Column,
    target: Column,
    statistic: str = "spearman",
    *,
    classes: Column | None = None,
    controls: Sequence[Column] = (),
    bootstrap: int = 1000,
    seed: int = 0,
) -> Interval | Undefined:
    """Correlation in [-1, 1] between `score` and `target`, or why there is none.

    Args:
        score, target: (N,) numbers; only their order matters.
        statistic: `spearman` (ties share their mean rank), `kendall` (tau-b), or `partial_spearman`: Pearson's
            correlation of what is left of both ranks after least squares on the class (one-hot, equivalently ranks
            centred within each class) and on the ranks of the controls.
        classes: (N,) labels, for `partial_spearman`.
        controls: further columns to hold constant, such as complexity, for `partial_spearman`.
        bootstrap: replicates, each of which ranks anew.
        seed: of the replicates.
    """
    if statistic not in STATISTICS:
        raise ConfigurationError(f"Unknown statistic '{statistic}'.{did_you_mean(statistic, STATISTICS)}")
    score_N = column(score, "score")
    count = len(score_N)
    target_N = column(target, "target", count)
    if count < 3:
        return Undefined(f"{count} samples are too few for a correlation")
    if statistic == "kendall":
        return bootstrap_interval(Kendall(score_N, target_N), count, bootstrap, seed)
    partial = statistic == "partial_spearman"
    codes = class_column(classes, count) if partial and classes is not None else np.zeros(count)
    columns = [column(control, "control", count) for control in controls] if partial else []
    return bootstrap_interval(Spearman(score_N, target_N, codes, columns), count, bootstrap, seed)


class Spearman:
    """Partial Spearman correlation; with a single class and no controls it is the plain one."""

    def __init__(self, score_N: Array, target_N: Array, classes_N: Array, controls: Sequence[Array]) -> None:
        self.score, self.target = Groups(score_N), Groups(target_N)
        self.classes = Groups(classes_N)
        self.controls = [Groups(control) for control in controls]

    def __call__(self, weights_BN: Array) -> Array:
        held: list[Array] = []
        for control in self.controls:
            held.append(self._residual(control, held, weights_BN))
        score_BN = self._residual(self.score, held, weights_BN)
        target_BN = self._residual(self.target, held, weights_BN)
        scale_B = np.sqrt(_inner(score_BN, score_BN, weights_BN) * _inner(target_BN, target_BN, weights_BN))
        return np.clip(_inner(score_BN, target_BN, weights_BN) / scale_B, -1.0, 1.0)

    def _residual(self, column: Groups, held: Sequence[Array], weights_BN: Array) -> Array:
        """Ranks of a column less their projection on class and held columns (orthogonal to each other)."""
        ranks_BN = column.midranks(weights_BN)
        residual_BN = self.classes.centre(ranks_BN, weights_BN)
        for other_BN in held:
            norm_B = _inner(other_BN, other_BN, weights_BN)
            slope_B = _inner(residual_BN, other_BN, weights_BN) / np.where(norm_B > 0, norm_B, 1.0)
            residual_BN = residual_BN - slope_B[:, None] * other_BN
        left_B = _inner(residual_BN, residual_BN, weights_BN) > ROUNDING * _inner(ranks_BN, ranks_BN, weights_BN)
        return residual_BN * left_B[:, None]


class Kendall:
    """Kendall's tau-b: concordant less discordant pairs, over the geometric mean of the pairs untied in each.

    Pairs are told apart by the first binary digit in which their places in one column differ, as in merge sort: at each
    digit the pairs of a 0 and a 1 are counted from one running sum along the other column. That is O(N log N) additions
    for each replicate, and for integer weights every sum is exact.
    """

    def __init__(self, score_N: Array, target_N: Array) -> None:
        self.score, self.target = Groups(score_N), Groups(target_N)
        few_N, many_N = sorted((self.score.group_N, self.target.group_N), key=lambda codes: int(codes.max()))
        self.digits = [_Digit(few_N, many_N, digit) for digit in range(int(few_N.max()).bit_length())]

    def __call__(self, weights_BN: Array) -> Array:
        concordance_B = np.zeros(len(weights_BN))
        for digit in self.digits:
            concordance_B += digit(weights_BN)
        scale_B = np.sqrt(self._untied(self.score, weights_BN) * self._untied(self.target, weights_BN))
        return np.asarray(2 * concordance_B / scale_B)

    @staticmethod
    def _untied(column: Groups, weights_BN: Array) -> Array:
        return weights_BN.sum(1) ** 2 - (column.totals(weights_BN) ** 2).sum(1)


class _Digit:
    """Concordant less discordant pairs of samples whose places in one column first differ in this binary digit.

    Args:
        place_N: places of the samples in that column.
        other_N: their places in the other.
        digit: 0 is the last.
    """

    def __init__(self, place_N: Array, other_N: Array, digit: int) -> None:
        block_N, upper_N = place_N >> (digit + 1), (place_N >> digit) & 1 == 1
        key_N = block_N * (int(other_N.max()) + 1) + other_N  # blocks of equal higher digits, ascending in each
        self.lower_L, self.upper_U = (np.flatnonzero(half_N) for half_N in (~upper_N, upper_N))
        self.lower_L = self.lower_L[np.argsort(key_N[self.lower_L], kind="stable")]
        self.upper_U = self.upper_U[np.argsort(block_N[self.upper_U], kind="stable")]
        keys_L, keys_U = key_N[self.lower_L], key_N[self.upper_U]
        self.below_U, self.reached_U = np.searchsorted(keys_L, keys_U), np.searchsorted(keys_L, keys_U, "right")
        blocks_U = block_N[self.upper_U]
        self.starts_K = np.flatnonzero(np.diff(blocks_U, prepend=-1))
        blocks_L, blocks_K = block_N[self.lower_L], blocks_U[self.starts_K]
        self.first_K, self.last_K = np.searchsorted(blocks_L, blocks_K), np.searchsorted(blocks_L, blocks_K, "right")
        self.tied = not np.array_equal(self.below_U, self.reached_U)

    def __call__(self, weights_BN: Array) -> Array:
        """(B,) of each replicate: twice what lies below each upper sample, ties half, less all of its block."""
        sums_BL = np.zeros((len(weights_BN), len(self.lower_L) + 1))
        np.cumsum(weights_BN.take(self.lower_L, axis=1), axis=1, out=sums_BL[:, 1:])
        upper_BU = weights_BN.take(self.upper_U, axis=1)
        below_BU = sums_BL.take(self.below_U, axis=1)
        below_BU += sums_BL.take(self.reached_U, axis=1) if self.tied else below_BU
        whole_BK = sums_BL.take(self.first_K, axis=1) + sums_BL.take(self.last_K, axis=1)
        of_block_BK = np.add.reduceat(upper_BU, self.starts_K, axis=1)
        return np.einsum("bn,bn->b", upper_BU, below_BU) - np.einsum("bn,bn->b", of_block_BK, whole_BK)


def _inner(left_BN: Array, right_BN: Array, weights_BN: Array) -> Array:
    return np.einsum("bn,bn,bn->b", left_BN, right_BN, weights_BN)
