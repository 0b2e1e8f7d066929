"""What each part of a score's work finds, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genuq.analysis.correlation import correlation
from genuq.analysis.evaluation_entries import SettingEntry
from genuq.analysis.inputs import Array, Column, column
from genuq.analysis.intervals import Interval, Undefined
from genuq.analysis.nested import ControlsModel
from genuq.analysis.score_entries import NOTHING, IntervalRow


@dataclass(frozen=True)
class ScoredSetting:
    """A setting of a score.

    Attributes:
        setting: its options.
        values: (N,) the score.
        cost: of sampling with it over sampling alone, in network evaluations.
        seconds: of one sample that it took; None where that is not known.
    """

    setting: Mapping[str, Any]
    values: Column
    cost: float
    seconds: float | None = None


@dataclass(frozen=True)
class Labels:
    """What is known of the samples.

    Attributes:
        bad: (N,) true for bad samples; None: nothing says which are.
        left_out: (N,) true for those that count neither as bad nor as good.
        classes: (N,) labels.
    """

    bad: Column | None = None
    left_out: Column | None = None
    classes: Column | None = None


def frontier(
    settings: Sequence[ScoredSetting], labels: Labels, *, bootstrap: int = 1000, seed: int = 0
) -> list[SettingEntry]:
    """Spearman's correlation of every setting with the last, and cross-fitted AUROC of class and score.

    Args:
        settings: the full one last.
        bootstrap, seed: replicates of the intervals, and the seed of them and of the folds.
    """
    finder = None if labels.bad is None else _Finder(labels, bootstrap, seed)
    full = settings[-1].values
    return [
        SettingEntry(
            setting=one.setting,
            cost=one.cost,
            seconds=one.seconds,
            spearman=_row(correlation(one.values, full, bootstrap=bootstrap, seed=seed)) or NOTHING,
            auroc=None if finder is None else finder(one.values),
        )
        for one in settings
    ]


def efficient(entries: Sequence[SettingEntry], measure: str) -> list[SettingEntry]:
    """Those that no cheaper or equally dear one matches, the cheapest first.

    Args:
        measure: `spearman` or `auroc`, of which more is better.
    """
    found: list[SettingEntry] = []
    best = -math.inf
    for value, entry in sorted(_measured(entries, measure), key=lambda pair: (pair[1].cost, -pair[0])):
        if value > best:
            found.append(entry)
            best = value
    return found


def _measured(entries: Sequence[SettingEntry], measure: str) -> list[tuple[float, SettingEntry]]:
    rows = [(getattr(entry, measure), entry) for entry in entries]
    return [(row.value, entry) for row, entry in rows if row is not None and row.value is not None]


class _Finder:
    """The cross-fitted AUROC of a score, by one model of the classes."""

    def __init__(self, labels: Labels, bootstrap: int, seed: int) -> None:
        assert labels.bad is not None
        count = len(column(labels.bad, "bad"))
        self.kept_N = None if labels.left_out is None else column(labels.left_out, "left_out", count) == 0
        classes = None if labels.classes is None else self._of_kept(labels.classes)
        self.model = ControlsModel(self._of_kept(labels.bad), classes=classes, seed=seed)
        self.bootstrap = bootstrap

    def __call__(self, values: Column) -> IntervalRow | None:
        found = self.model.gain([self._of_kept(values)], bootstrap=self.bootstrap)
        return None if isinstance(found, Undefined) else _row(found.full)

    def _of_kept(self, values: Column) -> Array:
        values_N = column(values, "values")
        return values_N if self.kept_N is None else values_N[self.kept_N]


def _row(found: Interval | Undefined) -> IntervalRow | None:
    return IntervalRow.of(found) if isinstance(found, Interval) else None
