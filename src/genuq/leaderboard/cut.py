"""The samples of one set that count for one kind of fault, and the statistics of one score over them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from genuq.analysis import Undefined
from genuq.analysis.best_control import against_best
from genuq.analysis.control_models import COMPLEXITY, ControlModels
from genuq.analysis.detection import Concordance, one_sided
from genuq.analysis.hierarchy import Drawn
from genuq.analysis.nested import LikelihoodRatio
from genuq.analysis.resampling import Resampling
from genuq.leaderboard.board import Board
from genuq.leaderboard.results import BoolArray, FloatArray, ScoredSet


class Cut:
    """The samples of one set that count for one kind of fault."""

    def __init__(self, found: ScoredSet, fault: str, board: Board) -> None:
        self.found, self.board = found, board
        good_N: BoolArray = found.valid if found.left_out is None else found.valid & ~found.left_out
        self.rows_N: BoolArray = good_N | found.faults[fault]
        self.bad_N = found.faults[fault][self.rows_N]
        self.classes_N = None if found.classes is None else found.classes[self.rows_N]
        self.clusters_N = found.clusters[self.rows_N]
        complexity = None if found.complexity is None or COMPLEXITY not in board.nested else found.complexity
        self.models = ControlModels(
            self.bad_N,
            {name: self.values(name) for name in board.nested if name in found.columns},
            classes=self.classes_N,
            complexity=None if complexity is None else complexity[self.rows_N],
            clusters=self.clusters_N,
            bootstrap=board.bootstrap,
            seed=found.condition.seed,
        )
        self._weights: dict[str, list[NDArray[np.uint8]]] = {}
        self._bases: dict[int, Drawn] = {}

    def values(self, name: str) -> FloatArray:
        """(n,) a score in the direction that was fixed beforehand: higher is less to be trusted."""
        sign = -1.0 if self.board.directions.get(name) == "lower" else 1.0
        return np.asarray(sign * self.found.columns[name].values[self.rows_N])

    def auroc(self, name: str) -> Drawn | Undefined:
        """The AUROC of a score, within classes."""
        if (reason := one_sided(self.bad_N)) is not None:
            return reason
        statistic = Concordance(self.values(name), self.bad_N, self.classes_N)
        if not statistic.has_pairs:
            return Undefined("no class has both bad and good samples")
        return self.drawn(statistic, Resampling(len(self.bad_N), self.clusters_N, self.classes_N), "auroc")

    def difference(self, name: str, other: str) -> Drawn | Undefined:
        """The AUROC of a score less that of another on the same samples."""
        ours, theirs = self.auroc(name), self.auroc(other)
        if isinstance(ours, Undefined) or isinstance(theirs, Undefined):
            return ours if isinstance(ours, Undefined) else Undefined(f"{other} has no AUROC")
        return less(ours, theirs)

    def gain(self, name: str) -> tuple[Drawn, LikelihoodRatio] | Undefined | None:
        """What a score adds to the controls."""
        found = self.models.added(name, self.values(name))
        if found is None or isinstance(found, Undefined):
            return found
        resampling = Resampling(len(self.bad_N), self.clusters_N)
        if id(found.base) not in self._bases:
            self._bases[id(found.base)] = self.drawn(found.base, resampling, "gain")
        return less(self.drawn(found.full, resampling, "gain"), self._bases[id(found.base)]), found.test

    def over(self, name: str) -> tuple[Drawn, tuple[str, ...]] | Undefined | None:
        """A score against the best control that costs as much or less, and which that was in each half."""
        cheap = self.cheaper_controls(name)
        if not cheap or self.is_control(name):
            return None
        found = against_best(
            self.values(name),
            {control: self.values(control) for control in cheap},
            self.bad_N,
            classes=self.classes_N,
            clusters=self.clusters_N,
            seed=self.found.condition.seed,
        )
        if isinstance(found, Undefined):
            return found
        return self.drawn(found.one.statistic, found.one.resampling, "over"), found.chosen

    def is_control(self, name: str) -> bool:
        """Whether scores are held against it: by its kind, or as the board declares."""
        return name in self.board.controls or self.found.columns[name].kind == "control"

    def drawn(self, statistic: Callable[[FloatArray], FloatArray], resampling: Resampling, purpose: str) -> Drawn:
        """A statistic of these samples and of replicates of them, which are drawn once for all scores."""
        if purpose not in self._weights:
            batches = resampling.weights(self.board.bootstrap, self.found.condition.seed)
            self._weights[purpose] = [weights_BN.astype(np.uint8) for weights_BN in batches]
        with np.errstate(divide="ignore", invalid="ignore"):
            value = float(statistic(np.ones((1, len(self.bad_N))))[0])
            found = [statistic(weights_BN.astype(np.float64)) for weights_BN in self._weights[purpose]]
        return Drawn(value, np.concatenate(found))

    def cheaper_controls(self, name: str) -> list[str]:
        """The controls that cost no more evaluations than a score."""
        columns, spent = self.found.columns, self.found.columns[name].evaluations
        return [one for one in self.board.controls if one in columns and columns[one].evaluations <= spent]


def less(ours: Drawn, theirs: Drawn) -> Drawn:
    """The difference of two statistics of the same replicates."""
    return Drawn(ours.value - theirs.value, ours.replicates_R - theirs.replicates_R)
