"""A study's figures: every setting's measure with its interval, and what filtering gains in each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from genuq.analysis.seeds import Gain
from genuq.report.drawing.canvas import EndLabel, Room, figure_of, label_ends
from genuq.report.drawing.style import DASHES, MARKERS, SERIES, colour, styled
from genuq.report.drawing.vocabulary import direction, metric_label
from genuq.report.study.table import Cell, Measure, Row, StudyTable
from genuq.report.study.words import column_words, missing_words, row_words

CHARACTER = 0.068  # inches of a row's name
LINE = 0.155  # inches that a line's label needs
BANDS = 4  # most lines that still carry their bands
BETTER = {"higher": "higher is better", "lower": "lower is better", None: ""}


Curves = Mapping[tuple[Row, str], Gain]


def study_figures(table: StudyTable, curves: Mapping[str, Curves]) -> dict[str, Figure]:
    """The figures by file name: one for each measure, and one for each metric whose curves are there."""
    found = {f"figure-{slug(measure.name)}": _forest_figure(table, measure) for measure in table.measures}
    drawn = {metric: of_metric for metric, of_metric in curves.items() if of_metric}
    return found | {f"figure-retention-{slug(name)}": _retention_figure(table, name, drawn[name]) for name in drawn}


def slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()


def row_label(table: StudyTable, row: Row) -> str:
    return " · ".join(row_words(table, row))


def _caption(table: StudyTable, *facts: str) -> str:
    missing = f"{missing_words(table)}." if table.missing else ""
    return " ".join(part for part in (*facts, missing) if part)


def _forest_figure(table: StudyTable, measure: Measure) -> Figure:
    longest = max(len(row_label(table, row)) for row in table.rows)
    keyed = max((len(column_words(table, column)) for column in table.columns), default=0)
    room = Room(
        width=3.3,
        height=max(0.6, len(table.rows) * max(0.24, 0.1 + 0.11 * len(table.columns))),
        left=0.25 + CHARACTER * longest,
        right=0.25 if table.column is None else 0.45 + CHARACTER * keyed,
        bottom=0.55,
    )
    sources = {cell.estimate.source for cell in table.cells.values() if cell.estimate}
    seeds = "Dots: means over seeds; bars: 95 % intervals." if "seeds" in sources else ""
    single = (
        "Hollow: a single seed, with the run's own 95 % interval if it has one." if {"run", "none"} & sources else ""
    )
    return figure_of([partial(forest, table=table, measure=measure)], room, _caption(table, seeds, single))


@styled
def forest(axes: Axes, table: StudyTable, measure: Measure) -> None:
    """Dot and interval of every setting, the columns side by side within a row; words where no run has the number."""
    for nth, column in enumerate(table.columns):
        shade, marker = colour(SERIES[nth % len(SERIES)]), MARKERS[nth % len(MARKERS)]
        drawn = False
        for place, row in enumerate(table.rows):
            y = place + _offset(nth, len(table.columns))
            cell = table.cell(row, column, measure)
            drawn |= _dot(axes, cell, y, shade, marker, column_words(table, column) if not drawn else "")
    axes.set_ylim(len(table.rows) - 0.4, -0.6)
    axes.set_yticks(range(len(table.rows)), [row_label(table, row) for row in table.rows])
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.06)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_title(measure.label)
    axes.set_xlabel(BETTER[measure.better])
    _dashes(axes, table, measure)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), frameon=False, fontsize=8, borderpad=0)


def _offset(nth: int, count: int) -> float:
    return 0.0 if count == 1 else 0.44 * (nth / (count - 1) - 0.5)


def _dot(axes: Axes, cell: Cell, y: float, shade: str, marker: str, label: str) -> bool:
    found = cell.estimate
    if found is None:
        return False
    if found.low is not None and found.high is not None:
        axes.plot([found.low, found.high], [y, y], color=shade, linewidth=1.6, zorder=3)
    face = shade if found.n > 1 else "white"
    axes.plot(
        [found.mean],
        [y],
        marker,
        ms=5.5,
        mfc=face,
        mec=shade,
        mew=1.2,
        zorder=4,
        linestyle="none",
        label=label or "_nolegend_",
    )
    return True


def _dashes(axes: Axes, table: StudyTable, measure: Measure) -> None:
    """Say of a row without any run that it has none."""
    for place, row in enumerate(table.rows):
        if all(table.cell(row, column, measure).estimate is None for column in table.columns):
            axes.text(
                0.5,
                place,
                "no number",
                transform=axes.get_yaxis_transform(),
                ha="center",
                va="center",
                size=8,
                color=colour("plot-muted"),
            )


def _retention_figure(table: StudyTable, metric: str, curves: Curves) -> Figure:
    columns = [column for column in table.columns if any(place[1] == column for place in curves)]
    lines = max(sum(place[1] == column for place in curves) for column in columns)
    longest = max(len(row_label(table, row)) for row, _ in curves)
    room = Room(width=3.0, height=max(2.55, LINE * (lines + 1)), left=0.6, right=0.35 + CHARACTER * longest)
    banded = lines <= BANDS and _has_bands(curves.values())
    reach = _reach(curves.values(), banded)
    draws = [
        partial(retention, table=table, metric=metric, curves=curves, column=column, banded=banded, reach=reach)
        for column in columns
    ]
    words = "Means over seeds of the difference from as many samples chosen at random (the line at 0)."
    return figure_of(draws, room, _caption(table, words, "Bands: 95 % intervals over seeds." if banded else ""))


def _reach(gains: Iterable[Gain], banded: bool) -> tuple[float, float]:
    """One range for every panel, so that they can be compared."""
    over_seeds = [found for one in gains for found in one.over_seeds]
    ends = [0.0, *(found.mean for found in over_seeds)]
    if banded:
        ends += [end for found in over_seeds for end in (found.low, found.high) if end is not None]
    margin = 0.08 * ((max(ends) - min(ends)) or 1)
    return min(ends) - margin, max(ends) + margin


def _has_bands(gains: Iterable[Gain]) -> bool:
    return any(entry.source == "seeds" for one in gains for entry in one.over_seeds)


@styled
def retention(
    axes: Axes,
    table: StudyTable,
    metric: str,
    curves: Curves,
    column: str,
    banded: bool,
    reach: tuple[float, float],
) -> None:
    """What each setting's score changes when it keeps the samples that it trusts most, against random choice."""
    labels = []
    for nth, row in enumerate(table.rows):
        if (row, column) not in curves:
            continue
        entry = curves[row, column]
        shade, dash = colour(SERIES[nth % len(SERIES)]), DASHES[nth // len(SERIES) % len(DASHES)]
        mean = [found.mean for found in entry.over_seeds]
        axes.plot(entry.fraction, mean, color=shade, linestyle=dash, linewidth=1.6, zorder=4)
        if banded:
            _band(axes, entry, shade)
        labels.append(EndLabel(entry.fraction[-1], mean[-1], row_label(table, row), shade, False, None))
    axes.axhline(0, color=colour("plot-muted"), linewidth=1, zorder=2)
    axes.invert_xaxis()
    axes.margins(x=0.02)
    axes.set_ylim(*reach)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    of, better = column_words(table, column), direction(metric)
    axes.set_title(f"{metric_label(metric)} against random{f', {of}' if of else ''}")
    axes.set_xlabel(f"Fraction of samples kept{f' ({better})' if better else ''}")
    label_ends(axes, labels, x=11, characters=max((len(label.text) for label in labels), default=0))


def _band(axes: Axes, entry: Gain, shade: str) -> None:
    ends = [(found.low, found.high) for found in entry.over_seeds if found.low is not None and found.high is not None]
    if len(ends) == len(entry.fraction):
        low, high = zip(*ends)
        axes.fill_between(entry.fraction, low, high, color=shade, alpha=0.13, linewidth=0, zorder=1)
