"""The numbers and images that the script of a study's page reads, as small as they can be."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genuq.analysis.evaluation_entries import PROMPT, SCORE_COLUMN, SampleTable, SummaryRow
from genuq.analysis.score_entries import Curve, Number, Numbers
from genuq.report.drawing.document import short
from genuq.report.drawing.pictures import Sprites, page_sprites
from genuq.report.drawing.plane import in_plane
from genuq.report.drawing.style import DASHES, SERIES, dasharray, series_of
from genuq.report.drawing.values import titled
from genuq.report.drawing.vocabulary import KIND_TITLES, direction, known_first, metric_label
from genuq.report.study.runs import StudyRun, StudyRuns
from genuq.report.study.verdict import combinations, verdict_of

CURVE_NUMBERS = 400_000  # of all curves with their intervals; a study with more leaves the intervals out
IMAGE_BYTES = 4_000_000  # of encoded images of the whole page; base64 adds a third
DIGITS = 4
MEASURES = ("auroc", "spearman", "fid_gain", "adds")
FACTS = ("index", "class", "predicted", "confidence", "realism", "member", "clip_score", "complexity", "bad")


@dataclass(frozen=True)
class Embedded:
    """What the page holds of a study: data for its script, sprite sheets, and whether intervals of curves fitted."""

    data: dict[str, Any]
    images: dict[str, Sprites]
    intervals: bool


def embedded(study: StudyRuns) -> Embedded:
    runs = study.runs
    scores = scores_in(runs)
    places = {values: place for place, values in enumerate(combinations(study))}
    intervals = sum(map(_numbers_in, runs)) <= CURVE_NUMBERS
    fractions: list[list[float]] = []
    shown = [run_data(run, scores, places[tuple(run.values)], fractions, intervals) for run in runs]
    samples, images = samples_data(runs)
    metrics = known_first(metric for run in runs for curves in run.curves.values() for metric in curves)
    data = {
        "keys": study.keys,
        "labels": [titled(key) for key in study.keys],
        "runs": shown,
        "scores": score_styles(scores),
        "kinds": KIND_TITLES,
        "metrics": [{"name": name, "label": metric_label(name), "direction": direction(name)} for name in metrics],
        "fractions": fractions,
        "hues": SERIES,
        "dashes": [dasharray(dash) for dash in DASHES],
        "samples": samples,
        "sprites": {name: sheets.layout() for name, sheets in images.items()},
        "scale": auroc_scale(runs),
    }
    return Embedded(data, images, intervals)


@dataclass(frozen=True)
class KnownScore:
    """A score of any run."""

    name: str
    label: str
    kind: str


def scores_in(runs: Sequence[StudyRun]) -> list[KnownScore]:
    """Every score of any run, the runs' own first."""
    known: dict[str, SummaryRow] = {row.score: row for run in runs for row in reversed(run.summary.table)}
    order = dict.fromkeys([*(run.score for run in runs), *(row.score for run in runs for row in run.summary.table)])
    return [KnownScore(name, known[name].label, known[name].kind) for name in order if name in known]


def score_styles(scores: Sequence[KnownScore]) -> list[dict[str, str]]:
    return [
        {"name": one.name, "label": one.label, "kind": one.kind, "colour": one.variable, "dash": one.dasharray}
        for one in series_of(scores)
    ]


def auroc_scale(runs: Sequence[StudyRun]) -> list[float]:
    """The ends of one scale for every AUROC of the study and its interval, chance and certainty among them."""
    rows = [row for run in runs for row in run.summary.table]
    known = [end for row in rows for end in (row.auroc, row.auroc_low, row.auroc_high) if end]
    return [short(min([0.5, *known]), DIGITS), short(max([1.0, *known]), DIGITS)]


def run_data(
    run: StudyRun, scores: Sequence[KnownScore], place: int, fractions: list[list[float]], intervals: bool
) -> dict[str, Any]:
    """One run: its choices, the numbers of every score, and the curves; `fractions` grows by those of the run."""
    first = next((curve for curves in run.curves.values() for curve in curves.values()), None)
    return {
        "name": run.name,
        "values": run.values,
        "seed": run.seed,
        "place": place,
        "score": next((i for i, score in enumerate(scores) if score.name == run.score), None),
        "verdict": verdict_of(run),
        "seconds": short(run.seconds, DIGITS),
        "target": run.summary.spearman_target,
        "numbers": [score_numbers(run, score.name) for score in scores],
        "fractions": None if first is None else _place(fractions, list(first.fraction)),
        "curves": [curves_of(run, score.name, intervals) for score in scores],
        "random": random_of(run),
    }


def score_numbers(run: StudyRun, score: str) -> list[Any] | None:
    """`MEASURES`, each with its interval; and network evaluations."""
    row = run.summary.row(score)
    if row is None:
        return None
    parts = [row.measured(measure) for measure in MEASURES]
    ends = [end for part in parts for end in (part.value, part.low, part.high)]
    return [short(value, DIGITS) for value in (*ends, run.evaluations.get(score))]


def curves_of(run: StudyRun, score: str, intervals: bool) -> dict[str, list] | None:
    """By metric, the values, and with `intervals` their lower and upper ends."""
    if score not in run.curves or score == "random":  # random removal has curves of its own, with all their draws
        return None
    return {metric: _columns(_ends(curve, intervals)) for metric, curve in run.curves[score].items()}


def _ends(curve: Curve, intervals: bool) -> Sequence[Numbers]:
    return (curve.value, curve.low, curve.high) if intervals else (curve.value,)


def random_of(run: StudyRun) -> dict[str, list]:
    """By metric, random removal and its lower and upper ends: the same beside every score."""
    found: dict[str, list] = {}
    for curves in run.curves.values():
        for metric, curve in curves.items():
            if metric not in found:
                found[metric] = _columns((curve.random_value, curve.random_low, curve.random_high))
    return found


def _columns(columns: Sequence[Numbers]) -> list[list[Number]]:
    return [[short(value, DIGITS) for value in column] for column in columns]


def _numbers_in(run: StudyRun) -> int:
    return sum(3 * len(curve.value) for curves in run.curves.values() for curve in curves.values())


def _place(known: list[list[float]], entry: list[float]) -> int:
    if entry not in known:
        known.append(entry)
    return known.index(entry)


def samples_data(runs: Sequence[StudyRun]) -> tuple[list[dict | None], dict[str, Sprites]]:
    """Columns of the samples of each run that has any, and the sprite sheets that they point to.

    Runs that made the same images, such as those of two posteriors over one model, share a sheet.
    """
    groups: dict[str, np.ndarray] = {}
    found: list[dict | None] = []
    for run in runs:
        images, table = run.images, run.samples
        if images is None or table is None or not len(images):
            found.append(None)
        elif images.ndim == 2:
            points = [[short(float(x), DIGITS) for x in point] for point in in_plane(images)]
            found.append(sample_columns(table) | {"points": points})
        else:
            name = hashlib.sha256(repr(images.shape).encode() + images.tobytes()).hexdigest()[:12]
            groups[name] = images
            found.append(sample_columns(table) | {"sheet": name})
    budget = IMAGE_BYTES // max(1, len(groups))
    return found, {name: page_sprites([images], budget)[0] for name, images in groups.items()}


def sample_columns(table: SampleTable) -> dict[str, Any]:
    """A table of samples by its columns; names of classes once each."""
    columns = dict(zip(table.columns, zip(*table.rows), strict=True))
    names = dict(zip(columns.get("class", ()), columns.get("class_name") or columns.get(PROMPT, ())))
    names = {str(key): name for key, name in names.items() if key is not None and name is not None}
    kept = {name: [short(value, DIGITS + 1) for value in column] for name, column in columns.items() if _kept(name)}
    return {"columns": kept, "classes": names}


def _kept(name: str) -> bool:
    return name in FACTS or name.startswith(SCORE_COLUMN)
