"""A study as a table: what its runs measured in each setting, what is best, and what is missing.

The best of a column is the setting with the best mean. Bold are the best and its ties: every setting whose difference
from the best has a 95 % interval that does not show it to be worse (`analysis.seeds.difference`: paired over shared
seeds where there are two, else Welch's; single seeds by the other's spread, or by the runs' own intervals). Each
setting is compared with the best alone, without a correction for how many settings there are; and the best was chosen
by the same numbers, so that just failing to tie is weak evidence. Without an interval to judge by, only the best is
bold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from genuq.analysis.seeds import UNBOUNDED, Estimate, Readings, difference, estimate
from genuq.report.study.published import Published
from genuq.store.scales import FULL

Row = tuple[str, ...]
Place = tuple[Row, str, str]  # row, column, name of the measure
SIGNS = {"higher": 1, "lower": -1, None: 0}


@dataclass(frozen=True)
class Measure:
    """A number of every run.

    Attributes:
        name: in the records, `entropy/auroc`.
        label: what a reader is shown.
        better: `higher`, `lower`, or None where neither is: then nothing is bold.
        digits: decimal places; None for three significant digits of the largest.
        bounds: the smallest and the largest value that it can have.
    """

    name: str
    label: str
    better: str | None = None
    digits: int | None = None
    bounds: tuple[float, float] = UNBOUNDED


@dataclass(frozen=True)
class Cell:
    """A measure in one setting.

    Attributes:
        estimate: over the seeds; None where no run has the number.
        expected: runs that the study asks for.
        runs: ids of those that have the number.
        mark: `best`, `tie` with the best, or nothing.
        compared: how it was told from the best, see `analysis.seeds.difference`.
    """

    estimate: Estimate | None
    expected: int
    runs: Row = ()
    mark: str = ""
    compared: str = ""


@dataclass(frozen=True)
class StudyTable:
    """A study's table.

    Attributes:
        name: of the study.
        commands: that make its runs.
        keys: of the configuration, whose values name a row.
        column: the key whose values are columns, or None: then there is one, without a name.
        within: those of `keys` within whose values the best is sought.
        cells: of every row, column and measure.
        expected: runs that the study asks for.
        missing: the command of each run that is not there.
        notes: what else a reader must know, a sentence each.
        scale: that the runs of all cells were made at; at another than the full one nothing is best.
    """

    name: str
    title: str
    question: str
    commands: tuple[str, ...]
    keys: Row
    column: str | None
    rows: tuple[Row, ...]
    columns: tuple[str, ...]
    measures: tuple[Measure, ...]
    cells: Mapping[Place, Cell]
    within: Row = ()
    expected: int = 0
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    published: tuple[Published, ...] = ()
    scale: str = FULL

    def cell(self, row: Row, column: str, measure: Measure) -> Cell:
        return self.cells[row, column, measure.name]


def cells_of(
    readings: Mapping[Place, Readings],
    ids: Mapping[tuple[Row, str], Mapping[str, str]],
    expected: Mapping[tuple[Row, str], int],
    measures: Sequence[Measure],
    within: Sequence[int] = (),
) -> dict[Place, Cell]:
    """Every cell, the best of each column and its ties marked.

    Args:
        readings: by seed, of every place.
        ids: of the runs of a row and column, by seed.
        expected: runs that a row and column should have.
        within: places in a row of the values within which the best is sought.
    """
    cells = {
        (row, column, measure.name): cell_of(measure, readings[row, column, measure.name], ids[row, column], count)
        for (row, column), count in expected.items()
        for measure in measures
    }
    groups: dict[tuple[Measure, str, Row], list[Place]] = {}
    for measure in measures:
        for row, column in expected:
            if cells[row, column, measure.name].estimate is not None:
                group = measure, column, tuple(row[place] for place in within)
                groups.setdefault(group, []).append((row, column, measure.name))
    for (measure, _, _), places in groups.items():
        cells |= _marked({place: cells[place] for place in places}, readings, SIGNS[measure.better])
    return cells


def cell_of(measure: Measure, readings: Readings, ids: Mapping[str, str], expected: int) -> Cell:
    """A cell without a mark, from the readings and the ids of its runs, both by seed."""
    return Cell(estimate(readings, measure.bounds), expected, tuple(ids[seed] for seed in readings))


def _marked(cells: dict[Place, Cell], readings: Mapping[Place, Readings], sign: int) -> dict[Place, Cell]:
    """Cells that compete, each with an estimate; where there is only one, or nothing is better, none is marked."""
    if sign == 0 or len(cells) < 2:
        return cells
    best = max(cells, key=lambda place: sign * _mean(cells[place]))
    others = {
        place: _against(cell, readings[best], readings[place], sign) for place, cell in cells.items() if place != best
    }
    return others | {best: replace(cells[best], mark="best")}


def _mean(cell: Cell) -> float:
    assert cell.estimate is not None
    return cell.estimate.mean


def _against(cell: Cell, best: Readings, own: Readings, sign: int) -> Cell:
    """The cell, marked where it is not shown to be worse than the best."""
    gap, how = difference(best, own)
    worse = gap is None or (gap.low if sign > 0 else -gap.high) > 0
    return replace(cell, mark="" if worse else "tie", compared=how)
