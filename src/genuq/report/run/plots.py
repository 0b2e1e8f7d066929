"""The report's plots of scores: retention curves, quantile bins, correlations, and 2-D samples.

Each function draws one panel into given axes; `canvas.figure_of` lays panels out. Everything is read from the
results, and what is missing there is left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import MaxNLocator, PercentFormatter

from genuq.analysis.results import Results
from genuq.analysis.score_entries import Correlation, Curve, Numbers
from genuq.report.drawing.canvas import EndLabel, fitted, label_ends
from genuq.report.drawing.style import Series, colour, series_of, styled
from genuq.report.drawing.values import interval, present, significant
from genuq.report.drawing.vocabulary import TARGETS, direction, metric_label, target_words

# Pale for certain, dark for uncertain: the samples in doubt are the ones to be seen.
RAMP = LinearSegmentedColormap.from_list("doubt", ["#c9d3dc", "#7d9fc0", "#8b5a8c", "#a01f3c", "#3d0714"])


def provenance(results: Results) -> str:
    """The caption's facts: which extractor judged, with which k, on how many samples."""
    judge = results.judge
    if judge is None:
        return ""
    facts = (
        f"Judged in the features of {judge.extractor}",
        f"D = {judge.dimension:,}",
        f"k = {judge.k}",
        f"N = {judge.samples:,} samples",
        f"{judge.reference:,} real references",
    )
    return ", ".join(facts)


def _numbers(values: Sequence) -> np.ndarray:
    return np.asarray([value if present(value) else np.nan for value in values], float)


def _axis_names(axes: Axes, x: str, metric: str) -> None:
    axes.set_title(metric_label(metric))
    axes.set_xlabel(x)
    better = direction(metric)
    axes.text(
        1,
        1.035,
        better,
        transform=axes.transAxes,
        size=8,
        color=colour("plot-muted"),
        ha="right",
        va="bottom",
    )
    axes.yaxis.set_major_locator(MaxNLocator(5))


def _line(axes: Axes, series: Series, x: np.ndarray, y: np.ndarray, markers: bool = False) -> EndLabel | None:
    """One score's line; returns the label for its end, or None when it has no finite point."""
    finite = np.isfinite(x) & np.isfinite(y)
    if not finite.any():
        return None
    axes.plot(
        x[finite],
        y[finite],
        color=series.colour,
        linestyle=series.dash,
        linewidth=series.width,
        marker=series.marker if markers else None,
        markersize=5 if series.main else 3.5,
        markeredgewidth=0,
        zorder=5 if series.main else 4 if series.kind in ("score", "baseline") else 3,
        gid=f"series-{series.index}",
    )
    end_x, end_y = float(x[finite][-1]), float(y[finite][-1])
    return EndLabel(end_x, end_y, series.short, series.colour, series.main, f"series-{series.index}")


@styled
def retention(axes: Axes, results: Results, metric: str) -> None:
    """Metric against the fraction of samples kept, every score, beside equal-N random removal with its interval."""
    labels = []
    for series, score in zip(series_of(results.scores), results.scores):
        curve = score.curves.get(metric)
        if curve is None or series.name == "random":  # the random score is the band below, with all its draws
            continue
        x = _numbers(curve.fraction)
        labels.append(_line(axes, series, x, _numbers(curve.value)))
        if series.main:
            _band(axes, x, curve.low, curve.high, series.colour, 0.13)
    labels.append(_random(axes, results, metric))
    axes.invert_xaxis()
    axes.margins(x=0.02, y=0.06)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    _axis_names(axes, "Fraction of samples kept", metric)
    label_ends(axes, [label for label in labels if label], x=11)


def _random(axes: Axes, results: Results, metric: str) -> EndLabel | None:
    curve = next((score.curves[metric] for score in results.scores if metric in score.curves), None)
    if curve is None:
        return None
    x, y, grey = _numbers(curve.fraction), _numbers(curve.random_value), colour("plot-band")
    _band(axes, x, curve.random_low, curve.random_high, grey, 0.28)
    axes.plot(x, y, color=grey, linewidth=1.2, zorder=2)
    return EndLabel(float(x[-1]), float(y[-1]), "Random, equal N", colour("plot-muted"), False, None)


def _band(axes: Axes, x: np.ndarray, low: Numbers, high: Numbers, shade: str, alpha: float) -> None:
    axes.fill_between(x, _numbers(low), _numbers(high), color=shade, alpha=alpha, linewidth=0, zorder=1)


@styled
def bins(axes: Axes, results: Results, metric: str) -> None:
    """Metric of each quantile bin, from the samples with the lowest score to those with the highest."""
    labels, most = [], 1
    for series, score in zip(series_of(results.scores), results.scores):
        entry = score.bins.get(metric)
        if entry is None:
            continue
        y = _numbers(entry.value)
        most = max(most, len(y))
        labels.append(_line(axes, series, np.arange(1, len(y) + 1.0), y, markers=True))
    axes.set_xticks(range(1, most + 1))
    axes.margins(x=0.04, y=0.06)
    _axis_names(axes, "Bin of the score: 1 most certain → most uncertain", metric)
    label_ends(axes, [label for label in labels if label], x=11)


def targets_in(results: Results) -> list[str]:
    """What any score was correlated with, known targets first."""
    found = {entry.target for score in results.scores for entry in score.correlations}
    return [name for name in TARGETS if name in found] + sorted(found - set(TARGETS))


@styled
def forest(axes: Axes, results: Results, target: str) -> None:
    """Dot and interval of each score's rank correlation with a target; hollow: given class and complexity."""
    scores = series_of(results.scores)
    for row, (series, score) in enumerate(zip(scores, results.scores)):
        _dot(axes, series, score.correlation(target, "spearman"), row - 0.13, filled=True)
        _dot(axes, series, score.correlation(target, "partial_spearman"), row + 0.2, filled=False)
    axes.axvline(0, color=colour("plot-muted"), linewidth=1, zorder=1)
    axes.set_ylim(len(scores) - 0.4, -0.6)
    axes.set_xlim(*_reach(results))
    axes.set_yticks(range(len(scores)), [fitted(series.short) for series in scores])
    for tick, series in zip(axes.get_yticklabels(), scores):
        tick.set(color=series.colour, weight="bold" if series.main else "normal")
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    name = TARGETS.get(target, target)
    axes.set_title(name)
    axes.set_xlabel(f"← higher score, lower {target_words(target)}")


def _reach(results: Results) -> tuple[float, float]:
    """One range for every target, so that the panels can be compared."""
    entries = [entry for score in results.scores for entry in score.correlations]
    ends = [end for entry in entries for end in (entry.value, entry.low, entry.high) if present(end)]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    margin = 0.04 * ((high - low) or 1)
    return low - margin, high + margin


def _dot(axes: Axes, series: Series, entry: Correlation | None, y: float, filled: bool) -> None:
    if entry is None or not present(entry.value):
        return
    group, thick = f"series-{series.index}", 1.9 if filled else 1.0
    if present(entry.low) and present(entry.high):
        axes.plot([entry.low, entry.high], [y, y], color=series.colour, linewidth=thick, gid=group, zorder=3)
    size = 6.5 if filled else 4
    face = series.colour if filled else "none"
    axes.plot([entry.value], [y], "o", ms=size, mfc=face, mec=series.colour, mew=1.2, gid=group, zorder=4)


@styled
def points(axes: Axes, points_N2: np.ndarray, values_N: Sequence, label: str) -> None:
    """2-D samples coloured by a score; samples without a value are grey."""
    values = _numbers(values_N)
    known = np.isfinite(values)
    axes.scatter(points_N2[~known, 0], points_N2[~known, 1], s=9, color=colour("plot-band"), linewidths=0)
    order = np.flatnonzero(known)[np.argsort(values[known])]  # uncertain ones on top, where they can be seen
    dots = axes.scatter(points_N2[order, 0], points_N2[order, 1], s=9, c=values[order], cmap=RAMP, linewidths=0)
    axes.set_aspect("equal")
    axes.set_xlabel("x₁")
    axes.set_ylabel("x₂")
    axes.set_title("Samples by score")
    if known.any():
        bar = axes.figure.colorbar(dots, ax=axes, fraction=0.05, pad=0.04)
        bar.set_label(f"{label}, higher is less certain")
        bar.outline.set_visible(False)


def describe_retention(results: Results, metric: str) -> str:
    """The curve in words, for readers who cannot see it."""
    name = metric_label(metric)
    main: Curve | None = results.scores[0].curves.get(metric)
    if main is None:
        return f"Retention curves of {name}."
    known = interval(main.low[-1], main.high[-1])
    return (
        f"Retention curves of {name}, {direction(metric)}. With all samples it is {significant(main.value[0])}; "
        f"keeping the {100 * main.fraction[-1]:.0f} % with the lowest {results.scores[0].label} gives "
        f"{significant(main.value[-1])} {known}; keeping as many at random gives {significant(main.random_value[-1])}."
    )
