"""The words and numbers of a study's table, which Markdown, LaTeX and the figures share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from genuq.report.drawing.values import decimals, present, spoken
from genuq.report.drawing.vocabulary import POSTERIORS
from genuq.report.study.table import Cell, Measure, Row, StudyTable
from genuq.store.scales import FULL, explanation_of, warning_of

MISSING = "—"
ARROWS = {"higher": "↑", "lower": "↓", None: ""}


@dataclass(frozen=True)
class CellText:
    """The parts of a cell as a reader sees them; empty where there is nothing. `mark`: that it is no result."""

    value: str
    error: str
    span: str
    count: str
    mark: str = ""


def cell_text(cell: Cell, places: int, scale: str = FULL) -> CellText | None:
    """`0.612`, its standard error or its interval, and `3`, or `3 of 5` where seeds are missing; None without a run."""
    found = cell.estimate
    if found is None:
        return None
    span = ""
    if found.source == "run":
        span = f"[{decimals(found.low, places)}, {decimals(found.high, places)}]"
    error = decimals(found.error, places) if present(found.error) else ""
    count = f"{found.n}" if found.n == cell.expected else f"{found.n} of {cell.expected}"
    return CellText(decimals(found.mean, places), error, span, count, "" if scale == FULL else scale)


def places(table: StudyTable, measure: Measure) -> int:
    """Decimal places of a measure, the same in every cell."""
    found = [cell.estimate.mean for (*_, name), cell in table.cells.items() if name == measure.name and cell.estimate]
    return places_of(found) if measure.digits is None else measure.digits


def places_of(values: Sequence[float]) -> int:
    """Decimal places that give the largest of the values three significant digits."""
    largest = max(map(abs, values), default=0.0)
    return min(8, max(0, 2 - math.floor(math.log10(largest)))) if largest else 2


def heading(measure: Measure) -> str:
    return f"{measure.label} {ARROWS[measure.better]}".rstrip()


def value_words(key: str, value: str) -> str:
    """The value of a key as a reader sees it: a posterior by its name, `flow_matching` as `flow matching`."""
    if key.split("@")[0].lstrip("+") == "posterior" and value in POSTERIORS:
        return POSTERIORS[value][0]
    return spoken(value)


def key_words(key: str) -> str:
    return spoken(key.lstrip("+").replace(".", " "))


def row_words(table: StudyTable, row: Row) -> list[str]:
    return [value_words(key, value) for key, value in zip(table.keys, row)]


def column_words(table: StudyTable, column: str) -> str:
    return "" if table.column is None else value_words(table.column, column)


def title_of(table: StudyTable) -> str:
    """The study's title, and whether its table has results."""
    return f"{table.title} ({warning_of(table.scale)})" if table.scale != FULL else table.title


def missing_words(table: StudyTable) -> str:
    """How many runs of the table's scale are missing; empty where none is."""
    count = len(table.missing)
    at = "" if table.scale == FULL else f" at scale={table.scale}"
    verb = "is" if count == 1 else "are"
    return f"{count} of {table.expected} runs{at} {verb} missing" if count else ""


def legend(table: StudyTable) -> list[str]:
    """How to read the table, a sentence each; only what occurs in it."""
    cells = list(table.cells.values())
    sources = {cell.estimate.source for cell in cells if cell.estimate}
    told = {cell.compared for cell in cells}
    first = [] if table.scale == FULL else [explanation_of(table.scale)]
    return [*first, *(sentence for holds, sentence in _sentences(table, sources, told, cells) if holds)]


def _sentences(table: StudyTable, sources: set[str], told: set[str], cells: Sequence[Cell]) -> list[tuple[bool, str]]:
    where = f" within each {' and '.join(map(key_words, table.within))}" if table.within else ""
    ways = {
        "paired": "paired over shared seeds",
        "welch": "Welch's where no two seeds are shared",
        "single": "where one has a single seed, as if it varied as the other's seeds do",
        "intervals": "from the runs' own intervals where both have a single seed",
    }
    rule = ", ".join(words for way, words in ways.items() if way in told)
    ties = (
        f", and whatever is not shown to be worse by the 95 % interval of its difference from the best ({rule})"
        if rule
        else ""
    )
    return [
        ("seeds" in sources, "Mean ± standard error over seeds; in parentheses, how many."),
        ("run" in sources, "A single seed has the run's own 95 % interval in brackets, which knows no other seed."),
        ("none" in sources, "A single seed without an interval stands alone."),
        (any(cell.mark for cell in cells), f"Bold: the best of its column{where}{ties}."),
        ("none" in told, "Where single seeds have no interval, bold is the best number and no finding."),
        (any(cell.estimate is None and cell.expected for cell in cells), f"{MISSING}: no run has this number."),
    ]
