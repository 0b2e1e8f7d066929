"""Cost against AUROC: a dot for each score, and the names of those that no cheaper one exceeds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from genuq.analysis import Interval
from genuq.leaderboard.rows import CHANCE, Row
from genuq.leaderboard.sheets import Head, Setting
from genuq.report.drawing.canvas import EndLabel, Room, figure_of, label_ends
from genuq.report.drawing.style import colour, styled
from genuq.report.drawing.values import decimals, spoken
from genuq.report.run.panels import Panel, panel

COLOURS = {"score": "series-1", "baseline": "baseline", "control": "control", "oracle": "oracle"}
MARKERS = {"score": "o", "baseline": "s", "control": "D", "oracle": "^"}
ROOM = Room(width=2.7, height=2.5, left=0.55, right=1.95, top=0.34, bottom=0.5)


def cost_figures(settings: Sequence[Setting]) -> dict[str, Figure]:
    """A figure for each data set and sampler, with a panel for each kind of fault, by file name."""
    caption = "AUROC against evaluations beside sampling; bars: 95 % intervals. Named: what no cheaper score exceeds."
    return {
        f"cost-{setting.name}": figure_of(
            [partial(cost, rows=rows, title=spoken(head.fault)) for head, rows in panels_of(setting)], ROOM, caption
        )
        for setting in settings
        if panels_of(setting)
    }


def cost_panels(setting: Setting, number: int) -> list[Panel]:
    """The same for the page."""
    return [
        panel(partial(cost, rows=rows, title=head.label), f"cost-{number}-{nth}", described(rows, head), ROOM)
        for nth, (head, rows) in enumerate(panels_of(setting))
    ]


def panels_of(setting: Setting) -> list[tuple[Head, list[Row]]]:
    """The kinds of fault for which there is any AUROC, with the rows that have one."""
    found = [
        (head, [one for one in setting.rows if one.fault == head.fault and isinstance(one.auroc, Interval)])
        for head in setting.sheets[0].heads
    ]
    return [(head, rows) for head, rows in found if rows]


def described(rows: Sequence[Row], head: Head) -> str:
    """The panel in words."""
    front = "; ".join(
        f"{one.label} {decimals(value_of(one).value)} at {decimals(one.evaluations, 1)} evaluations"
        for one in frontier(rows)
    )
    return f"AUROC of {spoken(head.fault)} samples against cost. Not exceeded by any cheaper score: {front}."


def value_of(row: Row) -> Interval:
    """The AUROC of a row that has one."""
    assert isinstance(row.auroc, Interval)
    return row.auroc


def frontier(rows: Sequence[Row]) -> list[Row]:
    """The scores with a higher AUROC than all that cost as much or less; oracles see real data and do not count."""
    found: list[Row] = []
    for one in sorted(rows, key=lambda row: (row.evaluations, -value_of(row).value)):
        if one.kind != "oracle" and all(value_of(one).value > value_of(other).value for other in found):
            found.append(one)
    return found


@styled
def cost(axes: Axes, rows: Sequence[Row], title: str) -> None:
    """A dot with its interval for each score; the axis of evaluations is linear up to 1 and logarithmic beyond."""
    front = frontier(rows)
    for row in rows:
        found, shade, named = value_of(row), colour(COLOURS[row.kind]), row in front
        axes.plot(
            [row.evaluations, row.evaluations], [found.low, found.high], color=shade, linewidth=0.9, alpha=0.5, zorder=2
        )
        face = shade if named else "white"
        axes.plot([row.evaluations], [found.value], MARKERS[row.kind], ms=5, mfc=face, mec=shade, mew=1.1, zorder=4)
    axes.axhline(CHANCE, color=colour("plot-muted"), linewidth=1, zorder=1)
    axes.set_xscale("symlog", linthresh=1, linscale=0.5)
    most = max(row.evaluations for row in rows)
    axes.set_xlim(-0.3, max(1.5, 1.3 * most))
    axes.set_xticks([tick for tick in (0, 1, 10, 100, 1000, 10000) if tick <= max(1, most)])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.minorticks_off()
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_title(title[:1].upper() + title[1:])
    axes.set_xlabel("Evaluations beside sampling")
    ends = [EndLabel(r.evaluations, value_of(r).value, r.label, colour(COLOURS[r.kind]), False, None) for r in front]
    label_ends(axes, ends, x=11, characters=28)
