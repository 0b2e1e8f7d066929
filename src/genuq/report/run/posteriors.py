"""The posteriors of a run side by side: what each is, what decided the size of its draws, how good its draws are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from genuq.analysis.results import PosteriorEntry, Results
from genuq.analysis.score_entries import NOTHING, IntervalRow
from genuq.report.drawing.style import colour, styled
from genuq.report.drawing.values import DASH, decimals, power_of_ten, present, significant, spoken
from genuq.report.drawing.vocabulary import CRITERIA, POSTERIORS

DECADES = 3  # of the criterion's curve that are shown on either side of what was chosen


def posterior_name(entry: PosteriorEntry) -> str:
    """The posterior's own name, and what the run calls it where that says more."""
    name = POSTERIORS[entry.name][0] if entry.name in POSTERIORS else spoken(entry.name).capitalize()
    return name if entry.label == entry.name else f"{name} ({spoken(entry.label)})"


def criterion_words(entry: PosteriorEntry) -> str:
    """What decided the size of the draws, in words."""
    criterion, reason = entry.scale.criterion, entry.scale.how.get("prior_precision")
    if criterion in (None, "evidence") and not entry.evidence:
        return reason or DASH
    return CRITERIA.get(criterion or "evidence", spoken(criterion))


def fid_of_draws(entry: PosteriorEntry) -> IntervalRow:
    """Mean FID of the samples under each draw, between the lowest and the highest; nothing where no draw has one."""
    draws = [value for value in entry.quality.fid_draws if present(value)]
    return IntervalRow(sum(draws) / len(draws), min(draws), max(draws)) if draws else NOTHING


@dataclass(frozen=True)
class Criterion:
    """The curve of what decided the size of the draws.

    Attributes:
        x, y: finite points of the curve, y counted from its maximum.
        chosen: where on it the choice lies.
        name: of the criterion.
        over: what it was tried over.
    """

    x: np.ndarray
    y: np.ndarray
    chosen: float
    name: str
    over: str

    @property
    def at_the_edge(self) -> bool:
        return self.chosen in (self.x[0], self.x[-1])


def criterion_of(entry: PosteriorEntry) -> Criterion | None:
    """The curve that was used, or None where the size was given or follows from something else."""
    used = entry.scale.criterion or "evidence"
    curve = {"evidence": entry.evidence, "predictive": entry.predictive}.get(used)
    if not curve:
        return None
    x, y = (np.asarray([value if present(value) else math.nan for value in column], float) for column in curve)
    finite = np.isfinite(x) & np.isfinite(y) & (x > 0)
    if not finite.any():
        return None
    x, y = x[finite], y[finite] - y[finite].max()
    if used == "predictive":
        return Criterion(x, y, float(x[y.argmax()]), "Held-out log predictive density", "factor of the covariance")
    given = entry.scale.prior_precision
    chosen = given if present(given) else float(x[y.argmax()])
    return Criterion(x, y, chosen, "Log marginal likelihood", "prior precision")


def describe_criterion(criterion: Criterion) -> str:
    """The curve in words, for readers who cannot see it."""
    edge = ", the edge of what was tried" if criterion.at_the_edge else ""
    return (
        f"{criterion.name} over the {criterion.over}, from {significant(float(criterion.x[0]))} to "
        f"{significant(float(criterion.x[-1]))}; chosen: {significant(criterion.chosen)}{edge}."
    )


@styled
def criterion_curve(axes: Axes, criterion: Criterion) -> None:
    """The criterion, counted from its maximum, near what was chosen; the choice is marked."""
    near = np.abs(np.log10(criterion.x / criterion.chosen)) <= DECADES
    near = near if near.sum() > 1 else np.ones_like(near)
    x, y, shade = criterion.x[near], criterion.y[near], colour("series-1")
    axes.set_xscale("log")
    axes.plot(x, y, color=shade, linewidth=2)
    axes.axvline(criterion.chosen, color=colour("series-2"), linewidth=1, linestyle=(0, (4, 2)))
    height = float(np.interp(math.log(criterion.chosen), np.log(x), y))
    axes.plot([criterion.chosen], [height], "D", ms=6, color=colour("series-2"), mew=0, zorder=4, clip_on=False)
    right = criterion.chosen > math.sqrt(x[0] * x[-1])
    axes.annotate(
        f"chosen: {significant(criterion.chosen)}",
        (criterion.chosen, 0.04),
        xycoords=axes.get_xaxis_transform(),
        xytext=(-5 if right else 5, 0),
        textcoords="offset points",
        ha="right" if right else "left",
        size=8,
        color=colour("series-2"),
    )
    axes.set_title(criterion.name)
    axes.set_xlabel(criterion.over.capitalize())
    axes.set_ylabel("below its maximum")
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: significant(value, 2)))
    axes.xaxis.set_major_locator(LogLocator(numticks=6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(value)))
    axes.minorticks_off()


@styled
def noise_profile(axes: Axes, entry: PosteriorEntry) -> None:
    """Variance of the residual in equal bins of t, and the one value that the posterior takes for all of them."""
    assert entry.noise_profile is not None
    profile = np.asarray([value if present(value) else math.nan for value in entry.noise_profile], float)
    edges = np.linspace(0, 1, len(profile) + 1)
    axes.stairs(profile, edges, baseline=0, fill=True, color=colour("series-1"), alpha=0.16, linewidth=0)
    axes.stairs(profile, edges, baseline=None, color=colour("series-1"), linewidth=2)
    mean = entry.scale.observation_noise
    if present(mean):
        axes.axhline(mean, color=colour("plot-muted"), linewidth=1, linestyle=(0, (4, 2)))
        axes.annotate(
            f"over all t: {significant(mean)}",
            (0.98, mean),
            xytext=(0, 4),
            textcoords="offset points",
            ha="right",
            size=8,
            color=colour("plot-muted"),
        )
    axes.set_xlim(0, 1)
    axes.set_ylim(0)
    axes.set_title("Observation noise s² over t")
    axes.set_xlabel("t")
    axes.yaxis.set_major_locator(MaxNLocator(4))


def describe_noise(entry: PosteriorEntry) -> str:
    """The profile in words."""
    assert entry.noise_profile is not None
    known = [value for value in entry.noise_profile if present(value)]
    ends = f", from {significant(min(known))} to {significant(max(known))}" if known else ""
    return f"Variance of the residual in {len(entry.noise_profile)} equal bins of t{ends}."


@styled
def draws_quality(axes: Axes, entries: Sequence[PosteriorEntry]) -> None:
    """FID of the samples under each weight draw, a row for each posterior, beside that of the trained weights."""
    for row, entry in enumerate(entries):
        draws = np.asarray([value if present(value) else math.nan for value in entry.quality.fid_draws], float)
        rows = np.full(len(draws), row)
        axes.plot(draws, rows, "o", ms=8, color=colour("series-1"), alpha=0.6, mew=0, clip_on=False, zorder=3)
        _mean(axes, row, draws, alone=len(entries) == 1)
    trained = entries[0].quality.fid_map
    if present(trained):
        shade = colour("series-2")
        below = (len(entries) - 0.4) / (len(entries) + 0.4)  # the line ends at the first row, under its tag
        axes.axvline(trained, ymax=below, color=shade, linewidth=1, linestyle=(0, (4, 2)), zorder=1)
        axes.plot([trained], [0], "D", ms=8, color=shade, mew=0, clip_on=False, zorder=4)
        _tag(axes, trained, 0, f"trained weights {decimals(trained)}", shade, 16)
    axes.set_ylim(len(entries) - 0.4, -0.8)
    axes.set_yticks(range(len(entries)), [spoken(entry.label) for entry in entries] if len(entries) > 1 else [""])
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.25 if len(entries) == 1 else 0.12)
    axes.set_xlabel("FID, lower is better")


def _mean(axes: Axes, row: int, draws: np.ndarray, alone: bool) -> None:
    """The mean of a row in words: under its dots, or in the margin where there are several rows."""
    mean, shade = decimals(float(np.nanmean(draws))), colour("series-1")
    if alone:
        _tag(axes, float(np.nanmean(draws)), row, f"{len(draws)} draws, mean {mean}", shade, -16)
    else:
        place = axes.get_yaxis_transform()
        axes.text(1.02, row, f"mean {mean}", transform=place, va="center", size=8, color=shade)


def judged(results: Results) -> list[PosteriorEntry]:
    """The posteriors whose draws have a FID."""
    return [entry for entry in results.posteriors if present(fid_of_draws(entry).value)]


def _tag(axes: Axes, x: float, y: float, text: str, shade: str, lift: float) -> None:
    axes.annotate(
        text, (x, y), xytext=(0, lift), textcoords="offset points", ha="center", va="center", size=8, color=shade
    )
