"""What the tables of a leaderboard say, before they are Markdown, LaTeX or a page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from genuq.analysis import Interval, Undefined
from genuq.config.plugged import in_words
from genuq.data.truth import JUDGED_BAD
from genuq.leaderboard.board import NESTED, Board
from genuq.leaderboard.rows import ENOUGH, Declared, Gain, Over, Row, Statistics
from genuq.report.drawing.values import decimals, interval, spoken, titled
from genuq.report.drawing.vocabulary import KIND_TITLES

LEVEL = 0.05  # of adjusted p-values
FEW = "†"


@dataclass(frozen=True)
class Cell:
    """A number of a table; without one, why there is none.

    Attributes:
        bold: whether it holds against the other tests of its kind, or is the best of its column.
        note: what stands with it.
    """

    found: Interval | None
    bold: bool = False
    note: str = ""


@dataclass(frozen=True)
class Line:
    """A score in a table."""

    score: str
    label: str
    kind: str
    evaluations: float
    seconds: float | None
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Head:
    """A kind of fault in a table, with its samples."""

    fault: str
    bad: int
    good: int
    few: bool

    @property
    def label(self) -> str:
        return f"{titled(self.fault)}{FEW if self.few else ''}"


@dataclass(frozen=True)
class Measure:
    """What a table is of.

    Attributes:
        about: how to read it, in a sentence.
        places: decimal places.
        cell: of a row, given the other rows of its column.
    """

    name: str
    title: str
    about: str
    places: int
    cell: Callable[[Row, Sequence[Row]], Cell]


@dataclass(frozen=True)
class Sheet:
    """One table: a measure of one data set under one sampler."""

    measure: Measure
    heads: tuple[Head, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Setting:
    """The tables of one data set under one sampler."""

    name: str
    title: str
    seeds: int
    rows: tuple[Row, ...]
    sheets: tuple[Sheet, ...]


def _auroc(row: Row, column: Sequence[Row]) -> Cell:
    if isinstance(row.auroc, Undefined):
        return Cell(None, note=row.auroc.reason)
    known = [one.auroc.value for one in column if isinstance(one.auroc, Interval) and one.kind != "oracle"]
    return Cell(row.auroc, row.kind != "oracle" and row.auroc.value == max(known))


def _gain(row: Row, column: Sequence[Row]) -> Cell:
    if not isinstance(row.gain, Gain):
        return Cell(None, note=row.gain.reason if isinstance(row.gain, Undefined) else "nothing to add to")
    q, gain = row.gain.q, row.gain.interval
    bold = q is not None and q <= LEVEL and gain.low > 0  # the test knows nothing of how trainings differ
    return Cell(gain, bold, "" if q is None else f"q {p_value(q)}")


def _over(row: Row, column: Sequence[Row]) -> Cell:
    if not isinstance(row.over, Over):
        why = "a control" if row.is_control else "no control is as cheap"
        return Cell(None, note=row.over.reason if isinstance(row.over, Undefined) else why)
    labels = {one.score: one.label for one in column}
    note = ", ".join(called(name, labels) for name in row.over.chosen)
    return Cell(row.over.interval, row.over.interval.low > 0, note)


def _per_evaluation(row: Row, column: Sequence[Row]) -> Cell:
    return Cell(row.per_evaluation, note="" if row.per_evaluation else "no evaluation is spent")


def p_value(p: float) -> str:
    """`0.031`, or `< 0.001`."""
    return "< 0.001" if p < 0.001 else decimals(p, 3)


MEASURES = (
    Measure(
        "auroc",
        "AUROC",
        "How often a bad sample has the higher score than a good one of its class; 0.5 is chance. Bold: highest of its "
        "column.",
        3,
        _auroc,
    ),
    Measure(
        "gain",
        "Adds to the controls",
        "Cross-fitted AUROC of a model that knows the controls and the score, less that of one without the score. "
        "q: likelihood-ratio test, adjusted over all cells of all tables (Benjamini-Hochberg). Bold: q at most 0.05 "
        "and interval above 0.",
        3,
        _gain,
    ),
    Measure(
        "over",
        "Over the best control that costs no more",
        "AUROC less that of the control which was best on the other half of the samples. Bold: interval above 0.",
        3,
        _over,
    ),
    Measure(
        "per_evaluation",
        "AUROC above 0.5 for each evaluation",
        "Of the network, beside those of sampling.",
        4,
        _per_evaluation,
    ),
)


def settings_of(found: Statistics, board: Board) -> list[Setting]:
    """The tables of every data set under every sampler."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in found.rows:
        groups.setdefault((row.data, row.sampler), []).append(row)
    return [_setting(data, sampler, rows, board) for (data, sampler), rows in groups.items()]


def _setting(data: str, sampler: str, rows: Sequence[Row], board: Board) -> Setting:
    labels = [
        board.data[data].label if data in board.data else data,
        board.samplers[sampler].label if sampler in board.samplers else sampler,
    ]
    sheets = tuple(_sheet(measure, rows) for measure in MEASURES)
    return Setting(f"{data}-{sampler}", ", ".join(labels), max(one.seeds for one in rows), tuple(rows), sheets)


def _sheet(measure: Measure, rows: Sequence[Row]) -> Sheet:
    heads = _heads(rows)
    by_place = {(one.score, one.fault): one for one in rows}
    columns = {head.fault: [one for one in rows if one.fault == head.fault] for head in heads}
    scores = {one.score: one for one in rows}
    order = sorted(scores.values(), key=lambda one: list(KIND_TITLES).index(one.kind))
    lines = tuple(
        Line(
            one.score,
            one.label,
            one.kind,
            one.evaluations,
            one.seconds,
            tuple(_cell(measure, by_place.get((one.score, head.fault)), columns[head.fault]) for head in heads),
        )
        for one in order
    )
    return Sheet(measure, heads, lines)


def _cell(measure: Measure, row: Row | None, column: Sequence[Row]) -> Cell:
    return Cell(None, note="not scored") if row is None else measure.cell(row, column)


def _heads(rows: Sequence[Row]) -> tuple[Head, ...]:
    """The kinds of fault in their order; the samples are those of the score that has most of them."""
    found: dict[str, Row] = {}
    for row in rows:
        if row.fault not in found or row.bad > found[row.fault].bad:
            found[row.fault] = row
    return tuple(Head(fault, row.bad, row.good, row.few) for fault, row in found.items())


# In words


def cell_text(cell: Cell, places: int) -> str:
    """`0.612 [0.550, 0.670]`; a dash where there is no number."""
    if cell.found is None:
        return decimals(None)
    value, span = decimals(cell.found.value, places), interval(cell.found.low, cell.found.high, places)
    return f"{value} {span}".strip()


def answer_of(one: Declared, board: Board, labels: Mapping[str, str]) -> str:
    """A declared comparison and its outcome in a sentence."""
    wanted = one.comparison
    score, control = (labels.get(name, titled(name)) for name in (wanted.score, wanted.control))
    data = board.data[wanted.data].label if wanted.data in board.data else wanted.data
    sampler = board.samplers[wanted.sampler].label if wanted.sampler in board.samplers else wanted.sampler
    place = f"{data}, {sampler}, {spoken(wanted.fault)}"
    known = in_words([called(name, labels) for name in one.known]) if one.known else "the controls"
    against = known if wanted.control == NESTED else control
    if isinstance(one.difference, Undefined):
        return f"{place}: {score} against {against} is not known: {one.difference.reason}."
    found = one.difference
    span = f"{decimals(found.value, 3)} {interval(found.low, found.high, 3)}"
    verb = "adds to" if wanted.control == NESTED else "is above"
    outcome = _outcome(one)
    p = "" if one.adjusted is None else f", p {p_value(one.adjusted)} (Holm)"
    few = f"; only {one.bad:,} bad and {one.good:,} good samples, {ENOUGH} of each are needed" if one.few else ""
    return f"{place}: {score} {_said(verb, outcome)} {against}: {span}{p}{few}."


def _said(verb: str, outcome: str) -> str:
    negative = {"adds to": "was not shown to add to", "is above": "was not shown to be above"}
    worse = {"adds to": "takes from", "is above": "is below"}
    return {"better": verb, "worse": worse[verb]}.get(outcome, negative[verb])


def _outcome(one: Declared) -> str:
    """`better` or `worse` where both the interval and the adjusted p-value say so; else `open`."""
    assert not isinstance(one.difference, Undefined)
    if one.adjusted is None or one.adjusted > LEVEL or not one.difference.excludes(0):
        return "open"
    return "better" if one.difference.value > 0 else "worse"


def headline_of(found: Statistics) -> str:
    """The answer to the board's question, as far as its declared comparisons give one."""
    known = [one for one in found.declared if not isinstance(one.difference, Undefined)]
    if not found.declared:
        return "No comparison was declared beforehand; the tables say what was found, none of it a test."
    if not known:
        return "None of the declared comparisons could be made yet."
    counts = [_outcome(one) for one in known]
    better, worse = counts.count("better"), counts.count("worse")
    told = f"{better} of {len(found.declared)} declared comparisons hold"
    against = f", {worse} came out the other way" if worse else ""
    missing = len(found.declared) - len(known)
    left = f"; {missing} could not be made" if missing else ""
    return f"{told}{against}{left}."


def labels_of(found: Statistics) -> dict[str, str]:
    """What a reader is shown for each score."""
    return {one.score: one.label for one in found.rows}


def called(name: str, labels: Mapping[str, str]) -> str:
    """A score, or `class`, within a sentence: as the tables have it, where they have it."""
    return labels.get(name, spoken(name))


def notes_of(found: Statistics, board: Board) -> Iterable[str]:
    """What a reader must know of all tables."""
    yield (
        "In brackets: 95 % intervals, of a bootstrap over training seeds and, within them, over noise seeds; of a "
        "single training seed over its noise seeds alone."
    )
    if known := _known_of(found, board):
        yield f"Controls that a score may add to: {known}."
    if any(one.few for one in found.rows):
        yield f"{FEW} Fewer than {ENOUGH} bad samples, or good ones: too few to tell 0.64 from 0.60."
    if any(one.fault == JUDGED_BAD for one in found.rows):
        yield (
            "Judged bad: no rule says so but a classifier, for which it is of another class than asked for; it errs. "
            "Its errors cap what can be seen of any score, and raise scores that find what is hard to judge."
        )
    if 1 < max((one.seeds for one in found.rows), default=1) < 5:
        yield (
            "With so few training seeds these intervals are too narrow: where trainings differ by more than their "
            "samples tell, those of three seeds cover about 75 %. Declared comparisons of two scores, and all p-values "
            "over several training seeds but those of the likelihood-ratio test, are Student's over training seeds."
        )


def _known_of(found: Statistics, board: Board) -> str:
    """What the models of the settings know beside a score; where they differ, with the settings that they are of."""
    settings: dict[str, list[str]] = {}
    labels = labels_of(found)
    for setting in settings_of(found, board):
        gains = [row.gain for row in setting.rows if isinstance(row.gain, Gain)]
        known = ", ".join(called(name, labels) for name in dict.fromkeys(name for gain in gains for name in gain.known))
        if known:
            settings.setdefault(known, []).append(setting.title)
    if len(settings) == 1:
        return next(iter(settings))
    return "; ".join(f"{known} ({'; '.join(titles)})" for known, titles in settings.items())
