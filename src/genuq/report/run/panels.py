"""The plots of the page: each drawn once, as an element that follows the page's colours, and told in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes

from genuq.analysis.results import PosteriorEntry, Results
from genuq.report.drawing.canvas import Draw, Room, figure_of
from genuq.report.drawing.style import inline_svg
from genuq.report.drawing.vocabulary import direction, metric_label, metrics_in, target_words
from genuq.report.run import frontier, plots, posteriors

FOREST = Room(left=2.15, right=0.15, height=2.9)
STRIP = Room(left=0.2, right=0.2, width=4.4, height=0.75, top=0.15)
CRITERION = Room(left=0.85, right=0.25, width=3.4, height=1.8)
COSTS = Room(width=3.4, right=0.25)
LABEL = 0.155  # inches that a line's label needs
ROW = 0.21  # inches of a score in a forest


@dataclass(frozen=True)
class Panel:
    """One plot of the page: its element, and what it says in words."""

    svg: Markup
    alt: str
    metric: str = ""
    box: dict[str, Any] | None = None


def lines_room(results: Results) -> Room:
    """High enough for the label of every score's line."""
    height = LABEL * (len(results.scores) + 1)
    return Room() if height <= Room.height else Room(width=3.0, height=height)


def forest_room(results: Results) -> Room:
    return replace(FOREST, height=max(FOREST.height, ROW * len(results.scores)))


def quality_room(results: Results) -> Room:
    """A row for each posterior; the names of several stand in the margin."""
    many = len(posteriors.judged(results))
    return STRIP if many < 2 else Room(left=1.45, right=0.85, width=3.3, height=0.36 * many + 0.15, top=0.1)


def panel(plot: Callable[[Axes], None], prefix: str, alt: str, room: Room, metric: str = "") -> Panel:
    """Draw one panel and note where its axes lie, in fractions of the element, for the script's read-out.

    `prefix` goes into the ids of the SVG as it is: a word of ours, never a name from the results.
    """
    boxes: list[dict[str, Any]] = []

    def draw(axes: Axes) -> None:
        plot(axes)
        box = axes.get_position()
        boxes.append(
            {"left": box.x0, "right": box.x1, "top": 1 - box.y1, "bottom": 1 - box.y0, "limits": axes.get_xlim()}
        )

    figure = figure_of([draw], room)
    return Panel(Markup(inline_svg(figure, prefix)), alt, metric, boxes[0])


def retention(results: Results) -> list[Panel]:
    panels = []
    for index, metric in enumerate(metrics_in(results.scores, "curves")):
        draw: Draw = partial(plots.retention, results=results, metric=metric)
        alt = plots.describe_retention(results, metric)
        panels.append(panel(draw, f"curve-{index}", alt, lines_room(results), metric))
    return panels


def bins(results: Results) -> list[Panel]:
    panels = []
    for index, metric in enumerate(metrics_in(results.scores, "bins")):
        draw: Draw = partial(plots.bins, results=results, metric=metric)
        alt = f"{metric_label(metric)} of each quantile bin of each score, {direction(metric)}."
        panels.append(panel(draw, f"bins-{index}", alt, lines_room(results)))
    return panels


def forest(results: Results) -> list[Panel]:
    panels = []
    for index, target in enumerate(plots.targets_in(results)):
        draw: Draw = partial(plots.forest, results=results, target=target)
        words = target_words(target)
        alt = f"Rank correlation of each score with {words}, with intervals; the numbers are in the table below."
        panels.append(panel(draw, f"forest-{index}", alt, forest_room(results)))
    return panels


def costs(results: Results) -> list[Panel]:
    """What each setting of the run's score finds and costs."""
    panels = []
    for index, measure in enumerate(frontier.measures_in(results)):
        draw: Draw = partial(frontier.frontier, results=results, measure=measure)
        panels.append(panel(draw, f"cost-{index}", frontier.describe(results, measure), COSTS))
    return panels


def quality(results: Results) -> Panel | None:
    """FID of the draws of every posterior that was judged."""
    entries = posteriors.judged(results)
    if not entries:
        return None
    draw: Draw = partial(posteriors.draws_quality, entries=entries)
    alt = "FID of the samples under each weight draw and under the trained weights; the numbers are in the table."
    return panel(draw, "quality", alt, quality_room(results))


def scale(entry: PosteriorEntry, number: int) -> list[Panel]:
    """The curve of what decided the size of a posterior's draws, and its noise over time; whichever there is."""
    panels = []
    criterion = posteriors.criterion_of(entry)
    if criterion:
        draw: Draw = partial(posteriors.criterion_curve, criterion=criterion)
        panels.append(panel(draw, f"criterion-{number}", posteriors.describe_criterion(criterion), CRITERION))
    if entry.noise_profile:
        draw = partial(posteriors.noise_profile, entry=entry)
        panels.append(panel(draw, f"noise-{number}", posteriors.describe_noise(entry), CRITERION))
    return panels
