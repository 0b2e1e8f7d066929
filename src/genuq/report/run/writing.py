"""Write the report of a run into a folder: results.json, results.csv, plots, and the page."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genuq import files
from genuq.analysis.evaluation_entries import SCORE_COLUMN
from genuq.analysis.results import Results
from genuq.errors import DataError, did_you_mean
from genuq.report.drawing.canvas import Room, figure_of
from genuq.report.drawing.heat import as_maps, maps_figure
from genuq.report.drawing.marks import marking
from genuq.report.drawing.pictures import as_pixels, sample_grid
from genuq.report.drawing.plane import in_plane, plane_words
from genuq.report.drawing.style import png, svg
from genuq.report.drawing.values import present
from genuq.report.drawing.vocabulary import metrics_in
from genuq.report.run import RESULTS, frontier, plots, posteriors
from genuq.report.run.application import checked_examples, example_sheet
from genuq.report.run.page import Rows, Samples, render_page
from genuq.report.run.panels import COSTS, forest_room, lines_room, quality_room
from genuq.report.run.tables import samples_csv, summary_markdown
from genuq.store.scales import warning_of

Array = torch.Tensor | np.ndarray
GRID = (64, 16)  # samples in a contact sheet, and its columns


def write_report(
    folder: str | Path,
    results: Results,
    images: Array,
    draws: Array | Rows,
    maps: Array | None = None,
    examples: Mapping[str, Array] | None = None,
) -> Path:
    """Write the whole report; each file appears only when complete.

    Args:
        folder: is made if missing; gets results.json, results.csv, summary.md, index.html and plots/.
        results: of the run; NaN and None both mean missing, and are shown as a dash.
        images: uint8 (N, C, H, W), or float (N, D) for a model of points, of which the first two coordinates are
            drawn. Row n belongs to `results.samples.rows[n]`.
        draws: the same samples regenerated under M weight draws, (N, M, C, H, W) or (N, M, D), or what gives rows of
            them: those of the samples that the page shows are read.
        maps: standard deviation of each pixel in shares of the image's range (0 to 1), float (N, H, W), or None;
            `results.maps` says how they were made.
        examples: of the application that `results.application` tells of: uint8 `before`, `after` and `control`
            (E, C, H, W), `mask` (E, H, W), `accepted` and `control_accepted` (E,), any of them; `index` (E,) of the
            samples, `after_index` and `control_index` (E,) where others are shown there.
    Returns:
        The path of index.html.
    Raises:
        DataError: images, draws and rows do not belong together, or are of another type or shape.
    """
    folder = Path(folder)
    samples, examples = checked(results, images, draws, maps), checked_examples(examples)
    with marking(warning_of(results.scale)):
        return _written(folder, results, samples, examples)


def _written(folder: Path, results: Results, samples: Samples, examples: Mapping[str, np.ndarray] | None) -> Path:
    """The page of checked results, and all files beside it."""
    files.write_json(folder / RESULTS, files.plain(results))
    files.write_text(folder / "results.csv", samples_csv(results))
    files.write_text(folder / "summary.md", summary_markdown(results))
    for name, figure in figures(results, samples).items():
        files.write_bytes(folder / "plots" / f"{name}.png", png(figure))
        files.write_text(folder / "plots" / f"{name}.svg", svg(figure))
    if not samples.are_points:
        _write_grids(folder / "plots", results, samples)
    if examples:
        _write_grid(folder / "plots" / "examples.png", *example_sheet(examples))
    files.write_text(folder / "index.html", render_page(results, samples, examples))
    return folder / "index.html"


def checked(results: Results, images: Array, draws: Array | Rows, maps: Array | None = None) -> Samples:
    """Images, draws and maps as arrays that belong together and to the rows of `results`."""
    are_points = images.ndim == 2
    finals = _as_points(images, 2) if are_points else as_pixels(images, 4, "The report's images")
    if isinstance(draws, Array):
        draws = _as_points(draws, 3) if are_points else as_pixels(draws, 5, "The report's draws")
    samples = Samples(finals, draws)
    rows, shape, variants = len(results.samples.rows), samples.finals.shape, samples.draws.shape
    if not rows == shape[0] == variants[0] or shape[1:] != variants[2:]:
        raise DataError(
            f"The report needs one image and one set of draws of the same size for each row of results.samples, "
            f"but there are {rows} rows, images {tuple(shape)} and draws {tuple(variants)}."
        )
    _check_scores(results)
    return samples if maps is None else replace(samples, maps=as_maps(maps, samples.finals))


def _check_scores(results: Results) -> None:
    if not results.samples.rows or not results.scores:
        raise DataError("A report needs at least one sample and one score, but the results have none.")
    column, columns = f"{SCORE_COLUMN}{results.scores[0].name}", results.samples.columns
    if column not in columns:
        raise DataError(f"results.samples has no column '{column}' for the first score.{did_you_mean(column, columns)}")


def _as_points(array: Array, dimensions: int) -> np.ndarray:
    points = array.detach().cpu().numpy() if isinstance(array, torch.Tensor) else np.asarray(array)
    if points.ndim != dimensions:
        raise DataError(f"Points must be (N, D) and their draws (N, M, D), but one is {tuple(points.shape)}.")
    return points.astype(float)


def figures(results: Results, samples: Samples) -> dict[str, Figure]:
    """The plots by file name, each with its caption."""
    facts = plots.provenance(results)
    kinds = (
        (
            "retention",
            plots.retention,
            metrics_in(results.scores, "curves"),
            lines_room(results),
            "Band: 95 % interval.",
        ),
        ("bins", plots.bins, metrics_in(results.scores, "bins"), lines_room(results), "Quantile bins of equal size."),
        (
            "correlations",
            plots.forest,
            plots.targets_in(results),
            forest_room(results),
            "Filled: Spearman; hollow: given class and complexity; bars: 95 % intervals.",
        ),
        (
            "costs",
            frontier.frontier,
            frontier.measures_in(results),
            COSTS,
            "A dot for each setting of the score; line: those that none matches for less.",
        ),
    )
    made = {}
    for name, plot, keys, room, note in kinds:
        if keys:
            panels = [functools.partial(_bound, plot, results, key) for key in keys]
            made[name] = figure_of(panels, room, f"{facts}. {note}" if facts else note)
    entries = posteriors.judged(results)
    if entries:
        draw = functools.partial(posteriors.draws_quality, entries=entries)
        made["draws"] = figure_of([draw], quality_room(results), f"{facts}.")
    if samples.maps is not None:
        made["maps"] = maps_figure(samples.finals, samples.maps, results.maps)
    if samples.are_points:
        made["samples"] = _points(results, samples)
    return made


def _bound(plot: Callable[[Axes, Results, str], None], results: Results, key: str, axes: Axes) -> None:
    plot(axes, results, key)


def _main_values(results: Results) -> tuple[str, list]:
    """Label and per-sample values of the first score."""
    return results.scores[0].label, results.samples.of_score(results.scores[0].name)


def _points(results: Results, samples: Samples) -> Figure:
    label, column = _main_values(results)
    draw = functools.partial(plots.points, points_N2=in_plane(samples.finals), values_N=column, label=label)
    note = f"N = {len(column):,} samples. {plane_words(samples.finals.shape[1])}"
    return figure_of([draw], Room(width=4.5, height=4.0, right=0.6), note.strip())


def _write_grids(folder: Path, results: Results, samples: Samples) -> None:
    """Contact sheets of the samples with the lowest and with the highest first score."""
    _, column = _main_values(results)
    known = [index for index, value in enumerate(column) if present(value)]
    ranking = sorted(known, key=lambda index: column[index])
    count, columns = GRID
    for name, chosen in (("most_certain", ranking[:count]), ("most_uncertain", ranking[::-1][:count])):
        if chosen:
            _write_grid(folder / f"{name}.png", samples.finals[chosen], columns)


def _write_grid(path: Path, images: np.ndarray, columns: int) -> None:
    with files.replacing(path) as temporary:
        sample_grid(images, columns, gap=2).save(temporary, format="PNG")
