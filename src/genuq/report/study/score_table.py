"""The score table of one run in pictures: what a score keeps, and how another column goes with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from genuq.analysis.inputs import Array
from genuq.analysis.kept_means import KeptMeans
from genuq.report.drawing.canvas import Room, figure_of
from genuq.report.drawing.style import SERIES, colour, styled
from genuq.report.drawing.values import power_of_ten, significant, titled

ROOM = Room(width=3.8, height=2.6, left=0.75, right=0.4)
TAIL = 0.001  # of the samples at each end that lie outside of a plot,
MANY = 10_000  # where there are so many
BINS, CELLS = 80, 60
COUNTS = LinearSegmentedColormap.from_list("counts", ["#a9c4da", "#63a0cc", "#0067a5", "#003152"])


def score_figures(
    score_N: Array, other_N: Array, names: tuple[str, str], threshold: float, means: KeptMeans
) -> dict[str, Figure]:
    """Histogram of the score, the other column against it, and the mean of that over what is kept.

    Args:
        score_N, other_N: finite or not; what is not is left out, and counted in the captions.
        names: of the score and of the other column.
        threshold: the highest score that is kept.
    """
    draws: dict[str, tuple[Callable[[Axes], None], str]] = {
        "histogram": (
            partial(histogram, score_N=score_N, name=names[0], threshold=threshold),
            _beyond(score_N, np.zeros(1)),
        ),
        "against": (
            partial(density, score_N=score_N, other_N=other_N, names=names, threshold=threshold),
            _beyond(score_N, other_N),
        ),
        "kept": (
            partial(kept, means=means, names=names),
            "Band: 95 % interval; the line is the mean of all, which random choice keeps.",
        ),
    }
    count = f"N = {len(score_N):,} samples."
    return {name: figure_of([draw], ROOM, f"{count} {note}".strip()) for name, (draw, note) in draws.items()}


def _range(values_N: Array) -> tuple[float, float]:
    """Where the finite values lie; of many, all but their tails."""
    finite = values_N[np.isfinite(values_N)]
    if not len(finite):
        return 0.0, 1.0
    tail = TAIL if len(finite) > MANY else 0.0
    low, high = (float(end) for end in np.quantile(finite, [tail, 1 - tail]))
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def _within(values_N: Array, span: tuple[float, float]) -> Array:
    return (values_N >= span[0]) & (values_N <= span[1])


def _beyond(*columns: Array) -> str:
    """How many samples the ranges leave out."""
    inside = np.logical_and.reduce([_within(values, _range(values)) for values in columns if len(values) > 1])
    left = int(np.size(inside) - np.count_nonzero(inside))
    return f"{left:,} of them lie outside of the plot." if left else ""


@styled
def histogram(axes: Axes, score_N: Array, name: str, threshold: float) -> None:
    """How many samples have which score; those that are kept in colour."""
    span = _range(score_N)
    edges = np.linspace(*span, min(BINS, 10 + len(score_N) // 50) + 1)
    for values, shade in ((score_N, colour("plot-band")), (score_N[score_N <= threshold], colour(SERIES[0]))):
        counts, _ = np.histogram(values, edges)
        axes.bar(edges[:-1], counts, np.diff(edges), align="edge", color=shade, linewidth=0)
    axes.axvline(threshold, color=colour("plot-ink"), linewidth=1)
    axes.set_title("Samples by score")
    axes.set_xlabel(f"{name}, higher is less trusted; kept: up to {significant(threshold)}")
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_formatter(lambda count, _: f"{count:,.0f}")
    axes.xaxis.set_major_locator(MaxNLocator(5))


@styled
def density(axes: Axes, score_N: Array, other_N: Array, names: Sequence[str], threshold: float) -> None:
    """Samples by score and another column, counted in hexagons."""
    spans = _range(score_N), _range(other_N)
    shown = _within(score_N, spans[0]) & _within(other_N, spans[1])
    cells = axes.hexbin(
        score_N[shown],
        other_N[shown],
        gridsize=(CELLS, CELLS // 2),
        extent=(*spans[0], *spans[1]),
        mincnt=1,
        cmap=COUNTS,
        linewidths=0.1,
    )
    cells.set_norm(LogNorm(1, max([10.0, *np.asarray(cells.get_array())])))
    axes.axvline(threshold, color=colour("plot-ink"), linewidth=1)
    axes.grid(visible=False)
    axes.set_title(f"{titled(names[1])} by {names[0]}")
    axes.set_xlabel(f"{names[0]}, higher is less trusted")
    axes.set_ylabel(names[1])
    axes.xaxis.set_major_locator(MaxNLocator(5))
    if shown.any():
        bar = axes.figure.colorbar(cells, ax=axes, fraction=0.05, pad=0.04, format=lambda count, _: power_of_ten(count))
        bar.set_label("Samples in a cell")
        bar.ax.minorticks_off()
        bar.outline.set_visible(False)


@styled
def kept(axes: Axes, means: KeptMeans, names: Sequence[str]) -> None:
    """Mean of the other column over the samples kept, against the fraction kept."""
    low, value, high = ([getattr(entry, part) for entry in means.mean] for part in ("low", "value", "high"))
    axes.fill_between(means.fraction, low, high, color=colour(SERIES[0]), alpha=0.15, linewidth=0)
    axes.plot(means.fraction, value, color=colour(SERIES[0]), linewidth=1.8, marker="o", markersize=3.5)
    axes.axhline(value[0], color=colour("plot-muted"), linewidth=1)
    axes.invert_xaxis()
    axes.margins(x=0.02, y=0.12)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_title(f"Mean {names[1]} of what is kept")
    axes.set_xlabel(f"Fraction of samples kept, lowest {names[0]} first")
