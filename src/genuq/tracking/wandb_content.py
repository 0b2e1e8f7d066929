"""What a finished stage tells wandb: its numbers, native charts, contact sheets, and the table of samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genuq import entries, files
from genuq.analysis.evaluation_entries import SampleTable, read_evaluation
from genuq.analysis.numbers import numbers_of_application
from genuq.analysis.results import FitSummary
from genuq.analysis.score_entries import Number, Numbers, ScoreEntry
from genuq.pipeline.columns import regenerated
from genuq.pipeline.configured import is_image
from genuq.pipeline.run import MAIN_POSTERIOR, Run
from genuq.pipeline.stages.apply import read_application
from genuq.pipeline.stages.propagate import shown_maps
from genuq.pipeline.stages.sample import shown, with_deviations
from genuq.report.drawing.heat import HeatScale, as_maps, overlay
from genuq.report.drawing.marks import titled
from genuq.report.drawing.pictures import as_pixels, sample_grid, shrunk
from genuq.report.drawing.values import evenly
from genuq.report.drawing.vocabulary import TARGETS, metric_label, target_words
from genuq.store.artefact import StageFolder
from genuq.store.shards import Shards
from genuq.tracking.numbers import evaluation_numbers
from genuq.tracking.wandb_names import AT_RANDOM, FRACTION, KEPT, SAMPLES, SECONDS

SIDE = (112, 256)  # pixels of the longer side of a thumbnail: enlarged to at least, shrunk to at most
SHEET, SHEET_COLUMNS = 64, 16  # samples on a contact sheet
CHART_ROWS = 10_000  # of a chart's table; wandb shows no more
CRITERIA = {"evidence": "log10 of the prior precision", "predictive": "log10 of the factor of the covariance"}


@dataclass
class Content:
    """What one wandb run is told.

    Attributes:
        rows: of curves, one a step.
        once: numbers, charts, images and tables by name.
        summary: words and verdicts.
    """

    rows: list[dict[str, Number]] = field(default_factory=list)
    once: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)


def content_of(run: Run, stage: str, folder: StageFolder) -> Content:
    """The numbers of any stage, and what else some have to show."""
    manifest = files.read_json(folder.manifest_path)
    notes = manifest["notes"]
    content = CONTENTS[stage](run, folder.path, notes) if stage in CONTENTS else Content()
    content.once |= {f"{SECONDS}/{stage}": manifest["seconds"], **flat(stage, notes)}
    return content


def flat(prefix: str, notes: Mapping[str, Any]) -> dict[str, float]:
    """All numbers of nested notes, each named by its path."""
    named = files.flattened({prefix: notes}, "/")
    return {
        name: value
        for name, value in named.items()
        if isinstance(value, int | float) and "configuration" not in name.split("/")
    }


# ---- charts


def lines(curves: Mapping[str, tuple[Numbers, Numbers]], title: str, x: str) -> Any:
    """One native chart with a line for each (xs, ys)."""
    import wandb

    xs, ys = zip(*curves.values())
    return wandb.plot.line_series([list(x) for x in xs], [list(y) for y in ys], list(curves), titled(title), x)


def criterion_charts(posteriors: Mapping[str, FitSummary]) -> dict[str, Any]:
    """What chose the scale of each posterior, counted from its highest value; the noise over time."""
    charts = {}
    for criterion, x in CRITERIA.items():
        curves = {label(name): normalised(*curve) for name, p in posteriors.items() if (curve := getattr(p, criterion))}
        if curves:
            charts[f"fit/{criterion}"] = lines(curves, f"{criterion.capitalize()}, from its maximum", x)
    if profiles := {label(name): in_bins(p.noise_profile) for name, p in posteriors.items() if p.noise_profile}:
        charts["fit/noise_profile"] = lines(profiles, "Observation noise over time", "t, from image to noise")
    return charts


def in_bins(values: Numbers) -> tuple[Numbers, Numbers]:
    """Values of equal bins of [0, 1], at their centres."""
    return [(place + 0.5) / len(values) for place in range(len(values))], list(values)


def label(name: str) -> str:
    return "posterior" if name == MAIN_POSTERIOR else name


def normalised(xs: Sequence[float], ys: Sequence[float]) -> tuple[list[float], list[float]]:
    """log10 x, and y counted from its maximum, where both are finite."""
    points = [(math.log10(x), y) for x, y in zip(xs, ys) if y is not None and math.isfinite(y) and x > 0]
    top = max(y for _, y in points)
    return [x for x, _ in points], [y - top for _, y in points]


def retention_charts(scores: Sequence[ScoreEntry]) -> dict[str, Any]:
    """A metric of the samples kept, by every score and at random: one chart a metric."""
    charts = {}
    for metric, first in scores[0].curves.items():
        curves: dict[str, tuple[Numbers, Numbers]] = {
            row.label: (row.curves[metric].fraction, row.curves[metric].value) for row in scores
        }
        curves["Random, equal N"] = (first.fraction, first.random_value)
        charts[f"retention/{metric}"] = lines(curves, f"{metric_label(metric)} of the samples kept", "fraction kept")
    return charts


def bin_charts(scores: Sequence[ScoreEntry]) -> dict[str, Any]:
    """A metric in quantile bins of every score, from the most trusted: one chart a metric."""
    charts = {}
    for metric in scores[0].bins:
        curves = {row.label: numbered(row.bins[metric].value) for row in scores}
        charts[f"bins/{metric}"] = lines(curves, f"{metric_label(metric)} in quantile bins", "bin, from most trusted")
    return charts


def numbered(values: Numbers) -> tuple[Numbers, Numbers]:
    return [float(place) for place in range(1, len(values) + 1)], list(values)


def scatter_charts(samples: SampleTable, score: str) -> dict[str, Any]:
    """The run's score against what the judge says of each sample."""
    import wandb

    charts, chosen = {}, evenly(len(samples.rows), CHART_ROWS)
    for target in TARGETS:
        if target in samples.columns:
            known, scores = samples.column(target), samples.of_score(score)
            pairs = [[known[place], scores[place]] for place in chosen]
            table = wandb.Table(columns=[target, score], data=pairs)
            charts[f"scatter/{target}"] = wandb.plot.scatter(
                table, target, score, f"{score} against {target_words(target)}"
            )
    return charts


def kept_rows(row: ScoreEntry) -> Iterator[dict[str, Number]]:
    """The retention curves of one score as steps, which dashboards can average over runs."""
    for place, fraction in enumerate(next(iter(row.curves.values())).fraction):
        steps = {f"{KEPT}/{metric}": curve.value[place] for metric, curve in row.curves.items()}
        chance = {f"{KEPT}/{metric}{AT_RANDOM}": curve.random_value[place] for metric, curve in row.curves.items()}
        yield {FRACTION: fraction, **steps, **chance}


# ---- what the stages say


def fit_content(run: Run, folder: Path, notes: Mapping[str, Any]) -> Content:
    fitted = {name: entries.from_json(FitSummary, entry, name) for name, entry in notes["posteriors"].items()}
    return Content(once=criterion_charts(fitted))


def sample_content(run: Run, folder: Path, notes: Mapping[str, Any]) -> Content:
    if not is_image(run):
        return Content()
    return Content(once={"sheets/samples": sheet(shown(Shards(folder).read("image", 0, SHEET), are_images=True))})


def propagate_content(run: Run, folder: Path, notes: Mapping[str, Any]) -> Content:
    first = np.arange(min(SHEET, run.config.sampler.samples))
    heat = heat_of(run, versions_of(run, first)["image"], first)
    return Content() if heat is None else Content(once={"sheets/maps": sheet(heat)})


def evaluate_content(run: Run, folder: Path, notes: Mapping[str, Any]) -> Content:
    evaluation, name = read_evaluation(folder), run.config.score.name
    scores, summary = evaluation.scores, evaluation.summary
    once = {
        **evaluation_numbers(run, evaluation),
        **flat("judge", files.plain(evaluation.judge)),
        **retention_charts(scores),
        **bin_charts(scores),
        **scatter_charts(evaluation.samples, name),
        SAMPLES: sample_table(run, evaluation.samples),
    }
    rows = kept_rows(evaluation.score(name))
    told = {"sentence": summary.sentence, "finds_bad": summary.finds_bad, "beats_controls": summary.beats_controls}
    return Content(list(rows), once, told)


def apply_content(run: Run, folder: Path, notes: Mapping[str, Any]) -> Content:
    application = read_application(folder)
    numbers = numbers_of_application(application)  # as the record of the study has them
    for row in application.outcome:
        numbers |= flat(f"apply/{row.measure}", files.plain(row))
    return Content(once=numbers, summary={"sentence": application.sentence})


def report_content(run: Run, folder: Path, notes: Mapping[str, Any]) -> Content:
    import wandb

    paths = sorted((folder / "plots").glob("*.png"))
    return Content(once={f"plots/{path.stem}": wandb.Image(str(path)) for path in paths})


CONTENTS: dict[str, Callable[[Run, Path, Mapping[str, Any]], Content]] = {
    "fit": fit_content,
    "sample": sample_content,
    "propagate": propagate_content,
    "evaluate": evaluate_content,
    "apply": apply_content,
    "report": report_content,
}


def sheet(images_NCHW: torch.Tensor | np.ndarray) -> Any:
    import wandb

    return wandb.Image(sample_grid(images_NCHW, SHEET_COLUMNS))


def versions_of(run: Run, chosen: np.ndarray, *names: str) -> dict[str, torch.Tensor]:
    """The chosen samples as `image`, and those versions of them that are named."""
    stored = Shards(run.path("sample"))
    rows = {name: torch.cat([stored.read(name, n, n + 1) for n in chosen.tolist()]) for name in ("image", *names)}
    return with_deviations(rows)


def heat_of(run: Run, images: torch.Tensor, chosen: np.ndarray) -> np.ndarray | None:
    """Maps of the chosen samples as heat over them, uint8 (N, 3, H, W), on the scale of all; None if there are none."""
    known = run.artefacts.get("propagate")
    if known is None or not known.is_current() or not is_image(run) or (found := shown_maps(known.path)) is None:
        return None
    under = as_pixels(shown(images, are_images=True), 4, "Samples")
    return overlay(under, HeatScale.of(found.numpy()).levels(as_maps(found[torch.from_numpy(chosen)], under)))


# ---- the table of samples


def sample_table(run: Run, samples: SampleTable) -> Any:
    """Samples evenly through the ranking of the run's score, both ends among them, the least trusted first.

    A row has its rank, the sample, its regenerations by each posterior, its pixel map, and all that is known of it.
    """
    import wandb

    columns, rows = samples.columns, samples.rows
    ranked = np.argsort(-np.array(samples.of_score(run.config.score.name)), kind="stable")
    ranks = evenly(len(rows), run.config.logger.samples)
    chosen = ranked[ranks]
    pictures = pictures_of(run, chosen) if is_image(run) else coordinates_of(run, chosen)
    data = [
        [rank + 1, *(column[place] for column in pictures.values()), *rows[n]]
        for place, (rank, n) in enumerate(zip(ranks, chosen.tolist()))
    ]
    return wandb.Table(columns=["rank", *pictures, *columns], data=data)


def pictures_of(run: Run, chosen: np.ndarray) -> dict[str, list[Any]]:
    """Columns of images: the sample, one sheet of regenerations a posterior, heat."""
    import wandb

    samples = versions_of(run, chosen, *regenerated(run))
    columns = {"image": thumbnails(as_pixels(shown(samples["image"], are_images=True), 4, "Samples"))[:, None]}
    for name in regenerated(run):
        draws_NMCHW = as_pixels(shown(samples[name], are_images=True), 5, "Draws")
        column = name if name == MAIN_POSTERIOR else f"{MAIN_POSTERIOR}_{name}"
        columns[column] = np.stack([thumbnails(draws) for draws in draws_NMCHW])
    if (heat := heat_of(run, samples["image"], chosen)) is not None:
        columns["map"] = thumbnails(heat)[:, None]
    return {
        name: [wandb.Image(sample_grid(versions, columns=len(versions), gap=2)) for versions in column]
        for name, column in columns.items()
    }


def coordinates_of(run: Run, chosen: np.ndarray) -> dict[str, list[float]]:
    points_ND = versions_of(run, chosen)["image"]
    return {f"x{axis}": points_ND[:, axis].tolist() for axis in range(points_ND.shape[1])}


def thumbnails(images_NCHW: np.ndarray) -> np.ndarray:
    """Images of a size to be seen: small ones enlarged with their pixels as they are, large ones shrunk."""
    least, most = SIDE
    factor = math.ceil(least / max(images_NCHW.shape[-2:]))
    return shrunk(images_NCHW.repeat(factor, axis=-2).repeat(factor, axis=-1), most)
