"""The page of a run: what its template needs, gathered from the results."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import yaml

from genuq import files
from genuq.analysis.evaluation_entries import JudgeEntry
from genuq.analysis.results import LikelihoodEntry, Results
from genuq.analysis.score_entries import Curve
from genuq.analysis.summary import p_value
from genuq.report.drawing import document, values, vocabulary
from genuq.report.drawing.document import headline, short
from genuq.report.drawing.heat import HeatScale, gradient, heat_unit, page_heat, reduction_words
from genuq.report.drawing.marks import titled
from genuq.report.drawing.pictures import SAMPLE_BYTES, Sprites, page_sprites
from genuq.report.drawing.plane import in_plane, plane_words
from genuq.report.drawing.style import series_of
from genuq.report.drawing.values import evenly
from genuq.report.run import application, frontier, panels, plots, posteriors
from genuq.report.run.tables import verdict

PAGE_SAMPLES = 2048  # more would make the page slow; it then shows an even selection of the ranking, with both ends
FEW_SAMPLES = 512  # so few may take the room of as many
PIXEL = "pixel"  # the likelihood whose extractor is named after the shape of its images
SCRIPTS = (
    "basics.js",
    "data.js",
    "sheets.js",
    "painting.js",
    "heat.js",
    "gallery.js",
    "detail.js",
    "common.js",
    "page.js",
)
HELPERS = {
    "posterior_name": posteriors.posterior_name,
    "criterion_words": posteriors.criterion_words,
    "fid_of_draws": posteriors.fid_of_draws,
    "places_of": application.places_of,
    "direction": vocabulary.direction,
    "measure_name": application.measure_name,
    "heat_unit": heat_unit,
    "heat_gradient": gradient,
    "reduction_words": reduction_words,
    "metric_label": vocabulary.metric_label,
    "fault_words": vocabulary.fault_words,
    "metrics_in": vocabulary.metrics_in,
    "p_value": p_value,
    "targets_in": plots.targets_in,
    "setting_words": frontier.setting_words,
    "pilot_words": frontier.pilot_words,
    "OVER_HEAD": vocabulary.OVER_HEAD,
}


class Rows(Protocol):
    """An array whose rows are read only when they are asked for: of all draws only those of the few shown samples."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, chosen: Any) -> Any: ...


@dataclass(frozen=True)
class Samples:
    """Samples and their draws, as images (uint8) or as points (float).

    Attributes:
        finals: (N, C, H, W) or (N, D).
        draws: (N, M, C, H, W) or (N, M, D); or what gives the rows of them.
        maps: (N, H, W), standard deviations in shares of the images' range, or None.
    """

    finals: np.ndarray
    draws: np.ndarray | Rows
    maps: np.ndarray | None = None

    @property
    def are_points(self) -> bool:
        return self.finals.ndim == 2

    def at(self, chosen: np.ndarray) -> Samples:
        draws = np.asarray(self.draws[chosen], float if self.are_points else np.uint8)
        return Samples(self.finals[chosen], draws, None if self.maps is None else self.maps[chosen])


def space_of(likelihood: LikelihoodEntry | None, are_points: bool) -> str:
    """Where versions of a sample are compared, in words."""
    if likelihood is None:
        return values.DASH
    if likelihood.extractor and likelihood.name != PIXEL:
        return f"{values.spoken(likelihood.extractor)} features"
    return "coordinates" if are_points else "pixels"


def render_page(results: Results, samples: Samples, examples: Mapping[str, np.ndarray] | None = None) -> str:
    """The whole of index.html.

    Args:
        samples: rows in the order of `results.samples.rows`.
        examples: of the application, as `application.checked_examples` gives them.
    """
    shown = selection(results, PAGE_SAMPLES)
    heat = None if samples.maps is None else HeatScale.of(samples.maps)
    images, embedded = _embedded(samples.at(shown), heat, results)
    opening, grounds = headline(results.summary.sentence)
    context = HELPERS | {
        "results": results,
        "first": "samples",
        "headline": titled(opening),
        "grounds": grounds,
        "series": series_of(results.scores),
        "verdict": verdict(results)[0],
        "verdict_colour": verdict(results)[1],
        "warnings": all_warnings(results),
        "points": samples.are_points,
        "space": space_of(results.likelihood, samples.are_points),
        "coordinates": plane_words(samples.finals.shape[1]) if samples.are_points else "",
        "heat": heat,
        "total": len(samples.finals),
        "shown": len(shown),
        "images": images,
        "examples": application.page_examples(examples or {}, prompts_of(results)),
        "data": page_data(results, shown) | embedded,
        "retention": panels.retention(results),
        "bins": panels.bins(results),
        "forest": panels.forest(results),
        "quality": panels.quality(results),
        "costs": panels.costs(results),
        "cost_rows": frontier.rows_in(results),
        "cost_measures": frontier.measures_in(results),
        "scales": [panels.scale(entry, number) for number, entry in enumerate(results.posteriors)],
        "provenance": plots.provenance(results),
        "configuration": yaml.safe_dump(files.plain(results.config), sort_keys=False, allow_unicode=True),
        "glossary": vocabulary.glossary_of(results),
    }
    return document.render("index.html.j2", context, SCRIPTS, ("page.css",))


def prompts_of(results: Results) -> list[str]:
    """Of every sample; none where they had none."""
    table = results.samples
    return [str(prompt) for prompt in table.column("prompt")] if "prompt" in table.columns else []


def all_warnings(results: Results) -> list[str]:
    """Every warning of the run once, those about the judge's independence first."""
    shared = "The judge is the encoder that makes the score: its verdict on that score does not count."
    found = [] if results.judge is None else _of_judge(results.judge, shared)
    return list(dict.fromkeys([*found, *results.warnings]))


def _of_judge(judge: JudgeEntry, shared: str) -> list[str]:
    return [*judge.warnings] if judge.independent else [shared, *judge.warnings]


def selection(results: Results, limit: int) -> np.ndarray:
    """Indices of the samples that the page shows: all, or `limit` of them evenly along the first score's ranking."""
    count = len(results.samples.rows)
    if count <= limit:
        return np.arange(count)
    column = results.samples.of_score(results.scores[0].name)
    ranking = np.argsort([value if values.present(value) else math.inf for value in column], kind="stable")
    return np.sort(ranking[evenly(count, limit)])


def page_data(results: Results, shown: np.ndarray) -> dict[str, Any]:
    """The numbers that the page's script reads."""
    series = [
        {"name": entry.name, "label": entry.label, "kind": entry.kind, "colour": entry.variable}
        for entry in series_of(results.scores)
    ]
    rows = [[short(value) for value in results.samples.rows[index]] for index in shown]
    curves = [{metric: _rounded(curve) for metric, curve in score.curves.items()} for score in results.scores]
    classes = [] if results.data is None else results.data.class_names
    columns, kinds = results.samples.columns, vocabulary.KIND_TITLES
    beyond = results.prompts is not None and results.prompts.beyond_data
    known = {"series": series, "kinds": kinds, "columns": columns, "rows": rows, "classes": classes, "curves": curves}
    return known | {"beyond": beyond}


def _rounded(curve: Curve) -> dict[str, list]:
    return {key: [short(value) for value in row] for key, row in files.plain(curve).items()}


def _embedded(samples: Samples, heat: HeatScale | None, results: Results) -> tuple[dict[str, Sprites], dict[str, Any]]:
    """Sprite sheets (none for points), and where the script finds each sample, draw and map."""
    many, draws = samples.draws.shape[1], np.asarray(samples.draws)
    if samples.are_points:
        points = {"samples": in_plane(samples.finals).round(4).tolist(), "draws": in_plane(draws).round(4).tolist()}
        return {}, {"draws": many, "points": points}
    groups = {"samples": samples.finals, "draws": draws.reshape(-1, *draws.shape[2:])}
    embedded: dict[str, Any] = {"draws": many}
    if samples.maps is not None and heat is not None:
        groups["maps"] = heat.levels(samples.maps)
        embedded["heat"] = page_heat(samples.maps, results.maps)
    packed = page_sprites(list(groups.values()), SAMPLE_BYTES * max(FEW_SAMPLES, len(samples.finals)))
    images = dict(zip(groups, packed))
    return images, embedded | {"sprites": {name: sheets.layout() for name, sheets in images.items()}}
