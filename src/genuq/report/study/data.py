"""The numbers and images that the script of a study's page reads, as small as they can be."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genuq.report.drawing.document import short
from genuq.report.drawing.pictures import Sprites, page_sprites
from genuq.report.drawing.style import DASHES, SERIES, dasharray, series_of
from genuq.report.drawing.values import titled
from genuq.report.drawing.vocabulary import KINDS, direction, metric_label, metrics_in
from genuq.report.study.verdict import combinations, row_of, verdict_of

CURVE_NUMBERS = 400_000  # of all curves with their intervals; a study with more leaves the intervals out
IMAGE_BYTES = 4_000_000  # of encoded images of the whole page; base64 adds a third
DIGITS = 4
COLUMNS = ("auroc", "spearman", "fid_gain")
FACTS = ("index", "class", "predicted", "confidence", "realism", "member", "complexity", "bad")


@dataclass(frozen=True)
class Embedded:
    """What the page holds of a study: data for its script, sprite sheets, and whether intervals of curves fitted."""

    data: dict[str, Any]
    images: dict[str, Sprites]
    intervals: bool


def embedded(study: dict) -> Embedded:
    runs = study["runs"]
    scores = scores_in(runs)
    places = {values: place for place, values in enumerate(combinations(study))}
    intervals = sum(map(_numbers_in, runs)) <= CURVE_NUMBERS
    fractions: list[list[float]] = []
    shown = [run_data(run, scores, places[tuple(run["values"])], fractions, intervals) for run in runs]
    samples, images = samples_data(runs)
    metrics = metrics_in({"scores": [score for run in runs for score in run["scores"]]}, "curves")
    data = {
        "keys": study["keys"],
        "labels": [titled(key) for key in study["keys"]],
        "runs": shown,
        "scores": score_styles(scores),
        "kinds": KINDS,
        "metrics": [{"name": name, "label": metric_label(name), "direction": direction(name)} for name in metrics],
        "fractions": fractions,
        "hues": SERIES,
        "dashes": [dasharray(dash) for dash in DASHES],
        "samples": samples,
        "sprites": {name: sheets.layout() for name, sheets in images.items()},
        "scale": auroc_scale(runs),
    }
    return Embedded(data, images, intervals)


def scores_in(runs: Sequence[dict]) -> list[dict[str, str]]:
    """Name, label and kind of every score of any run, the runs' own first."""
    known = {row["score"]: row for run in runs for row in reversed(run["summary"].get("table") or [])}
    own = dict.fromkeys(run["score"] for run in runs)
    order = [*own, *dict.fromkeys(row["score"] for run in runs for row in run["summary"].get("table") or [])]
    return [
        {"name": name, "label": known[name]["label"], "kind": known[name]["kind"]}
        for name in dict.fromkeys(order)
        if name in known
    ]


def score_styles(scores: list[dict[str, str]]) -> list[dict[str, str]]:
    return [
        score | {"colour": series.variable, "dash": series.dasharray}
        for score, series in zip(scores, series_of({"scores": scores}))
    ]


def auroc_scale(runs: Sequence[dict]) -> list[float]:
    """The ends of one scale for every AUROC of the study and its interval, chance and certainty among them."""
    keys = ("auroc", "auroc_low", "auroc_high")
    known = [row[key] for run in runs for row in run["summary"].get("table") or [] for key in keys if row.get(key)]
    return [short(min([0.5, *known]), DIGITS), short(max([1.0, *known]), DIGITS)]


def run_data(
    run: dict, scores: Sequence[dict], place: int, fractions: list[list[float]], intervals: bool
) -> dict[str, Any]:
    """One run: its choices, the numbers of every score, and the curves; `fractions` grows by those of the run."""
    known = {score["name"]: score for score in run["scores"]}
    curves = [curves_of(known.get(score["name"]), intervals) for score in scores]
    first = next((curve for score in run["scores"] for curve in (score.get("curves") or {}).values()), None)
    return {
        "name": run["name"],
        "values": run["values"],
        "seed": run["seed"],
        "place": place,
        "score": next((i for i, score in enumerate(scores) if score["name"] == run["score"]), None),
        "verdict": verdict_of(run),
        "seconds": short(run["seconds"], DIGITS),
        "target": run["summary"].get("spearman_target"),
        "numbers": [numbers_of(run, score["name"]) for score in scores],
        "fractions": None if first is None else _place(fractions, first["fraction"]),
        "curves": curves,
        "random": random_of(run["scores"]),
    }


def numbers_of(run: dict, score: str) -> list[Any] | None:
    """AUROC, Spearman correlation and gain, each with its interval; and network evaluations."""
    row = row_of(run, score)
    if not row:
        return None
    ends = [row.get(f"{column}{end}") for column in COLUMNS for end in ("", "_low", "_high")]
    return [short(value, DIGITS) for value in (*ends, run["evaluations"].get(score))]


def curves_of(score: dict | None, intervals: bool) -> dict[str, list] | None:
    """By metric, the values, and with `intervals` their lower and upper ends."""
    if not score or score["name"] == "random":  # random removal has curves of its own, with all their draws
        return None
    ends = ("value", "low", "high") if intervals else ("value",)
    return {metric: _columns(curve, ends) for metric, curve in (score.get("curves") or {}).items()}


def random_of(scores: Sequence[dict]) -> dict[str, list]:
    found: dict[str, list] = {}
    for score in scores:
        for metric, curve in (score.get("curves") or {}).items():
            if metric not in found and curve.get("random_value"):
                found[metric] = _columns(curve, ("random_value", "random_low", "random_high"))
    return found


def _columns(curve: dict, ends: Sequence[str]) -> list[list]:
    return [[short(value, DIGITS) for value in curve.get(end) or []] for end in ends]


def _numbers_in(run: dict) -> int:
    return sum(3 * len(curve["value"]) for score in run["scores"] for curve in (score.get("curves") or {}).values())


def _place(known: list[list[float]], entry: list[float]) -> int:
    if entry not in known:
        known.append(entry)
    return known.index(entry)


def samples_data(runs: Sequence[dict]) -> tuple[list[dict | None], dict[str, Sprites]]:
    """Columns of the samples of each run that has any, and the sprite sheets that they point to.

    Runs that made the same images, such as those of two posteriors over one model, share a sheet.
    """
    groups: dict[str, np.ndarray] = {}
    found: list[dict | None] = []
    for run in runs:
        images, table = run.get("images"), run.get("samples")
        if images is None or not table or not len(images):
            found.append(None)
        elif images.ndim == 2:
            found.append(
                sample_columns(table) | {"points": [[short(float(x), DIGITS) for x in point] for point in images]}
            )
        else:
            name = hashlib.sha256(repr(images.shape).encode() + images.tobytes()).hexdigest()[:12]
            groups[name] = images
            found.append(sample_columns(table) | {"sheet": name})
    budget = IMAGE_BYTES // max(1, len(groups))
    return found, {name: page_sprites([images], budget)[0] for name, images in groups.items()}


def sample_columns(table: dict) -> dict[str, Any]:
    """A table of samples by its columns; names of classes once each."""
    columns = dict(zip(table["columns"], zip(*table["rows"]), strict=True))
    names = dict(zip(columns.get("class", ()), columns.get("class_name", ())))
    names = {str(key): name for key, name in names.items() if key is not None and name is not None}
    kept = {name: [short(value, DIGITS + 1) for value in column] for name, column in columns.items() if _kept(name)}
    return {"columns": kept, "classes": names}


def _kept(name: str) -> bool:
    return name in FACTS or name.startswith("score_")
