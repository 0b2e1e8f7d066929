"""The statistics of a leaderboard: each score of each condition, and over training seeds, for each kind of fault.

A sample is bad if it has the fault and good if it has none; samples with other faults alone are left out. Where there
are classes, bad samples are compared with good ones of their own class only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import TypeVar

import numpy as np

from genuq.analysis import Interval, Undefined, benjamini_hochberg, holm
from genuq.analysis.detection import one_sided
from genuq.analysis.hierarchy import Drawn, Pooled, pooled
from genuq.leaderboard.board import NESTED, Board, Comparison
from genuq.leaderboard.cut import Cut
from genuq.leaderboard.results import ScoreColumn, ScoredSet

T = TypeVar("T")

CHANCE = 0.5
ENOUGH = 200  # bad samples, and good ones, that a comparison needs to tell 0.64 from 0.60


@dataclass(frozen=True)
class Gain:
    """What a score adds to the controls, and to the class where there are classes, in cross-fitted AUROC.

    Attributes:
        controls: in the model without the score, beside the class.
        by_class: whether it knows the class.
        p: of the likelihood-ratio test, of all training seeds together.
        q: p adjusted over the whole grid (Benjamini-Hochberg); None outside of it.
    """

    interval: Interval
    controls: tuple[str, ...]
    by_class: bool
    p: float
    q: float | None = None

    @property
    def known(self) -> tuple[str, ...]:
        """All that the model without the score knows."""
        return (*(["class"] if self.by_class else []), *self.controls)


@dataclass(frozen=True)
class Over:
    """The AUROC of a score less that of the best control that costs as much or less, chosen on the other half.

    Attributes:
        chosen: the controls that it was compared with.
    """

    interval: Interval
    chosen: tuple[str, ...]
    p: float


@dataclass(frozen=True)
class Row:
    """A score for one kind of fault, under one condition or, without a seed, over its training seeds.

    Attributes:
        seeds: training seeds that count.
        bad, good: samples, of the seeds that count; of all where none does.
        auroc: within classes where there are classes.
        evaluations: of the network, of one sample, beside those of sampling.
        seconds: of one sample; None where they were not measured.
        gain: None where there is no control to add to, or the score is one of them and no other is left.
        over: None for a control, or where no control is as cheap.
        is_control: whether scores are held against it: by its kind, or as the board declares.
    """

    data: str
    sampler: str
    seed: int | None
    fault: str
    score: str
    label: str
    kind: str
    needs_posterior: bool
    seeds: int
    bad: int
    good: int
    auroc: Interval | Undefined
    evaluations: float
    seconds: float | None
    gain: Gain | Undefined | None
    over: Over | Undefined | None
    is_control: bool

    @property
    def few(self) -> bool:
        """Whether there are too few bad samples, or good ones, to tell scores apart."""
        return min(self.bad, self.good) < ENOUGH

    @property
    def per_evaluation(self) -> Interval | None:
        """AUROC above chance for each evaluation spent; None where none was, or there is no AUROC."""
        if isinstance(self.auroc, Undefined) or self.evaluations <= 0:
            return None
        found = self.auroc
        return Interval(*((end - CHANCE) / self.evaluations for end in (found.value, found.low, found.high)))


@dataclass(frozen=True)
class Declared:
    """A comparison that was declared beforehand.

    Attributes:
        difference: of AUROCs, or what the score adds to the controls.
        p: of no difference; None where there is none.
        adjusted: p of all declared comparisons together (Holm), also those that could not be made.
        bad, good: samples.
        known: of what a score is to add to, all that the model knows; nothing for other comparisons.
    """

    comparison: Comparison
    difference: Interval | Undefined
    p: float | None
    adjusted: float | None
    bad: int = 0
    good: int = 0
    known: tuple[str, ...] = ()

    @property
    def few(self) -> bool:
        """As of a row."""
        return min(self.bad, self.good) < ENOUGH


@dataclass(frozen=True)
class Statistics:
    """All rows, those over training seeds and those of each seed, and the declared comparisons."""

    rows: tuple[Row, ...]
    by_seed: tuple[Row, ...]
    declared: tuple[Declared, ...]


def statistics(sets: Sequence[ScoredSet], board: Board, said: Callable[[str], None] = lambda what: None) -> Statistics:
    """Everything that the leaderboard says of scored sets.

    Args:
        sets: of all conditions.
        board: its controls, directions, replicates and declared comparisons.
        said: told what is being worked on.
    """
    rows: list[Row] = []
    by_seed: list[Row] = []
    for (data, sampler), group in _by_setting(sets).items():
        for fault in _names(one.faults for one in group):
            said(f"{data}, {sampler}: {fault}")
            cuts = [Cut(one, fault, board) for one in group if fault in one.faults]
            for score in _names(one.columns for one in group):
                pooled_row, single = _rows_of([cut for cut in cuts if score in cut.found.columns], score, fault)
                rows += pooled_row
                by_seed += single
    return Statistics(tuple(_with_q(rows)), tuple(by_seed), tuple(_declared(sets, board)))


def _by_setting(sets: Sequence[ScoredSet]) -> dict[tuple[str, str], list[ScoredSet]]:
    """The sets of each data set and sampler, by training seed."""
    found: dict[tuple[str, str], list[ScoredSet]] = {}
    for one in sets:
        found.setdefault((one.condition.data, one.condition.sampler), []).append(one)
    return {place: sorted(group, key=lambda one: one.condition.seed) for place, group in found.items()}


def _names(mappings: Iterable[Iterable[str]]) -> list[str]:
    """Of all entries, in the order in which they first appear."""
    return list(dict.fromkeys(name for one in mappings for name in one))


def _rows_of(cuts: Sequence[Cut], score: str, fault: str) -> tuple[list[Row], list[Row]]:
    """The row over all training seeds, and those of each."""
    if not cuts:
        return [], []
    parts = [Parts(cut, score) for cut in cuts]
    single = [_row([one], score, fault, one.cut.found.condition.seed) for one in parts]
    together = replace(single[0], seed=None) if len(parts) == 1 else _row(parts, score, fault, None)
    return [together], single


class Parts:
    """What one training says of one score: each statistic made once, for its own row and for that of all seeds."""

    def __init__(self, cut: Cut, score: str) -> None:
        self.cut, self.column = cut, cut.found.columns[score]
        self.auroc, self.gain, self.over = cut.auroc(score), cut.gain(score), cut.over(score)
        self.known = cut.models.known_beside(score, cut.values(score)) or ()


def _row(parts: Sequence[Parts], score: str, fault: str, seed: int | None) -> Row:
    first = parts[0]
    column, condition = first.column, first.cut.found.condition
    usable = [one.auroc for one in parts if isinstance(one.auroc, Drawn)]
    auroc = _pooled(usable, [one.auroc for one in parts])
    bad, good = _counts([one.cut for one in parts])
    return Row(
        data=condition.data,
        sampler=condition.sampler,
        seed=seed,
        fault=fault,
        score=score,
        label=column.label,
        kind=column.kind,
        needs_posterior=column.needs_posterior,
        seeds=len(usable),
        bad=bad,
        good=good,
        auroc=auroc if isinstance(auroc, Undefined) else auroc.interval,
        evaluations=float(np.mean([one.column.evaluations for one in parts])),
        seconds=_mean_seconds([one.column for one in parts]),
        gain=_gain(parts),
        over=_over(parts),
        is_control=first.cut.is_control(score),
    )


def _counts(cuts: Sequence[Cut]) -> tuple[int, int]:
    """Bad and good samples of the sets that have both; of all where none has."""
    counted = [cut for cut in cuts if one_sided(cut.bad_N) is None] or cuts
    return int(sum(cut.bad_N.sum() for cut in counted)), int(sum((~cut.bad_N).sum() for cut in counted))


def _mean_seconds(columns: Sequence[ScoreColumn]) -> float | None:
    known = [one.seconds for one in columns if one.seconds is not None]
    return float(np.mean(known)) if known else None


def _pooled(usable: Sequence[Drawn], found: Sequence[object]) -> Pooled | Undefined:
    """Over the trainings that have the statistic; else why none has."""
    if usable:
        return pooled(usable)
    return next(one for one in found if isinstance(one, Undefined))


def _gain(parts: Sequence[Parts]) -> Gain | Undefined | None:
    found = _over_seeds([one.gain for one in parts])
    if found is None or isinstance(found, Undefined):
        return found
    over_seeds, tests = found
    by_class = parts[0].cut.classes_N is not None
    return Gain(over_seeds.interval, parts[0].known, by_class, reduce(add, tests).p)


def _over(parts: Sequence[Parts]) -> Over | Undefined | None:
    found = _over_seeds([one.over for one in parts])
    if found is None or isinstance(found, Undefined):
        return found
    over_seeds, controls = found
    return Over(over_seeds.interval, tuple(_names(controls)), over_seeds.p())


def _over_seeds(each: Sequence[tuple[Drawn, T] | Undefined | None]) -> tuple[Pooled, list[T]] | Undefined | None:
    """A statistic over the trainings that have it, with what else each of these says; None where none asks for it."""
    found = [one for one in each if one is not None]
    if not found:
        return None
    usable = [one for one in found if not isinstance(one, Undefined)]
    over_seeds = _pooled([drawn for drawn, _ in usable], found)
    return over_seeds if isinstance(over_seeds, Undefined) else (over_seeds, [more for _, more in usable])


def _with_q(rows: Sequence[Row]) -> list[Row]:
    """The rows with the p-values of their gains adjusted over all of them."""
    p_values = [one.gain.p for one in rows if isinstance(one.gain, Gain)]
    adjusted = iter(benjamini_hochberg(p_values) if p_values else ())
    return [
        replace(one, gain=replace(one.gain, q=float(next(adjusted)))) if isinstance(one.gain, Gain) else one
        for one in rows
    ]


# The declared comparisons


def _declared(sets: Sequence[ScoredSet], board: Board) -> list[Declared]:
    found = [_compared(sets, board, one) for one in board.primary]
    if not found:
        return []
    adjusted = holm([1.0 if one.p is None else one.p for one in found])  # what could not be made shows nothing
    return [one if one.p is None else replace(one, adjusted=float(p)) for one, p in zip(found, adjusted, strict=True)]


def _compared(sets: Sequence[ScoredSet], board: Board, wanted: Comparison) -> Declared:
    group = _by_setting(sets).get((wanted.data, wanted.sampler), [])
    needed = [wanted.score] if wanted.control == NESTED else [wanted.score, wanted.control]
    if not group:
        return Declared(wanted, Undefined("its samples are missing"), None, None)
    for name in needed:
        if not any(name in one.columns for one in group):
            return Declared(wanted, Undefined(f"the samples have no score '{name}'"), None, None)
    usable = [one for one in group if wanted.fault in one.faults and all(name in one.columns for name in needed)]
    if not usable:
        return Declared(wanted, Undefined(f"the samples have no fault '{wanted.fault}'"), None, None)
    cuts = [Cut(one, wanted.fault, board) for one in usable]
    if wanted.control == NESTED:
        return _nested(cuts, wanted)
    difference, p = _against(cuts, wanted)
    return Declared(wanted, difference, p, None, *_counts(cuts))


def _nested(cuts: Sequence[Cut], wanted: Comparison) -> Declared:
    found = _gain([Parts(cut, wanted.score) for cut in cuts]) or Undefined("there is no control to add to")
    if isinstance(found, Undefined):
        return Declared(wanted, found, None, None, *_counts(cuts))
    return Declared(wanted, found.interval, found.p, None, *_counts(cuts), known=found.known)


def _against(cuts: Sequence[Cut], wanted: Comparison) -> tuple[Interval | Undefined, float | None]:
    found = [cut.difference(wanted.score, wanted.control) for cut in cuts]
    over_seeds = _pooled([one for one in found if isinstance(one, Drawn)], found)
    if isinstance(over_seeds, Undefined):
        return over_seeds, None
    return over_seeds.student, over_seeds.p()
