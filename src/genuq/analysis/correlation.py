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
BLOCK_PAIRS = 2**22


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
    """Kendall's tau-b: concordant less discordant pairs, over the geometric mean of the pairs untied in each."""

    def __init__(self, score_N: Array, target_N: Array) -> None:
        self.score, self.target = Groups(score_N), Groups(target_N)
        count = len(score_N)
        side = max(1, BLOCK_PAIRS // count)
        self.blocks = [slice(start, start + side) for start in range(0, count, side)]
        self.only_block = self._agreement(self.blocks[0]) if len(self.blocks) == 1 else None

    def __call__(self, weights_BN: Array) -> Array:
        concordance_B = np.zeros(len(weights_BN))
        for rows in self.blocks:
            agreement = self._agreement(rows) if self.only_block is None else self.only_block
            concordance_B += ((weights_BN @ agreement.T) * weights_BN[:, rows]).sum(1)
        return concordance_B / np.sqrt(self._untied(self.score, weights_BN) * self._untied(self.target, weights_BN))

    def _agreement(self, rows: slice) -> Array:
        """+1 for concordant pairs of these rows with all samples, -1 for discordant ones, 0 for ties."""
        return self._signs(self.score, rows) * self._signs(self.target, rows)

    @staticmethod
    def _signs(column: Groups, rows: slice) -> Array:
        return np.sign(column.group_N[rows, None] - column.group_N[None]).astype(np.float64)

    @staticmethod
    def _untied(column: Groups, weights_BN: Array) -> Array:
        return weights_BN.sum(1) ** 2 - (column.totals(weights_BN) ** 2).sum(1)


def _inner(left_BN: Array, right_BN: Array, weights_BN: Array) -> Array:
    return np.einsum("bn,bn,bn->b", left_BN, right_BN, weights_BN)
