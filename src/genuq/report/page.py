"""The page: what the template needs, gathered from the results, and rendered into one self-contained file.

The content security policy forbids every connection and every script but the page's own (by its hash), so a name
that slipped through the escaping still could not act.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import jinja2
import numpy as np
import yaml
from markupsafe import Markup
from matplotlib.axes import Axes

from genuq.report import plots, values, vocabulary
from genuq.report.canvas import Draw, Room, figure_of
from genuq.report.pictures import Sprites, page_sprites
from genuq.report.style import PALETTE, inline_svg, series_of
from genuq.report.tables import verdict

PAGE_SAMPLES = 2048  # more would make the page slow; it then shows an even selection of the ranking, with both ends
SCRIPTS = ("data.js", "painting.js", "gallery.js", "detail.js", "page.js")
FOREST = Room(left=1.85, right=0.15, height=2.9)
STRIP = Room(left=0.2, right=0.2, width=4.4, height=0.75, top=0.15)


@dataclass(frozen=True)
class Panel:
    """One plot of the page: its element, and what it says in words."""

    svg: Markup
    alt: str
    metric: str = ""
    box: dict[str, Any] | None = None


@dataclass(frozen=True)
class Samples:
    """Samples and their draws, as images (uint8) or as points in the plane (float).

    Attributes:
        finals: (N, C, H, W) or (N, 2).
        draws: (N, M, C, H, W) or (N, M, 2).
    """

    finals: np.ndarray
    draws: np.ndarray

    @property
    def are_points(self) -> bool:
        return self.finals.ndim == 2


def render_page(results: dict, samples: Samples) -> str:
    """The whole of index.html.

    Args:
        results: strict JSON types (see `values.plain`).
        samples: rows in the order of `results["samples"]["rows"]`.
    """
    shown = selection(results, PAGE_SAMPLES)
    images, embedded = _embedded(Samples(samples.finals[shown], samples.draws[shown]))
    script = "\n".join(_asset(name) for name in SCRIPTS)
    opening, grounds = headline(results["summary"].get("sentence"))
    context = {
        "results": results,
        "headline": opening,
        "grounds": grounds,
        "series": series_of(results),
        "verdict": verdict(results)[0],
        "verdict_colour": verdict(results)[1],
        "warnings": all_warnings(results),
        "points": samples.are_points,
        "total": len(samples.finals),
        "shown": len(shown),
        "images": images,
        "data": page_data(results, shown) | embedded,
        "retention": _retention(results),
        "bins": _bins(results),
        "forest": _forest(results),
        "quality": _quality(results),
        "provenance": plots.provenance(results),
        "configuration": yaml.safe_dump(results.get("config") or {}, sort_keys=False, allow_unicode=True),
        "glossary": vocabulary.GLOSSARY,
        "palette": PALETTE,
        "style": Markup(_asset("page.css")),
        "script": Markup(script),
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }
    return _environment().get_template("index.html.j2").render(context)


def _asset(name: str) -> str:
    return resources.files("genuq.report").joinpath("templates", name).read_text(encoding="utf-8").strip()


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("genuq.report", "templates"),
        autoescape=True,
        undefined=jinja2.ChainableUndefined,  # a section that a run does not have reads as missing, not as a crash
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("decimals", "significant", "percent", "duration", "words", "spoken"):
        environment.filters[name] = functools.partial(_defined, getattr(values, name))
    environment.globals |= {
        "interval": values.interval,
        "present": values.present,
        "whisker": whisker,
        "correlation": plots.correlation,
        "metric_label": plots.metric_label,
        "metrics_in": plots.metrics_in,
        "targets_in": plots.targets_in,
        "STATISTICS": vocabulary.STATISTICS,
        "TARGETS": vocabulary.TARGETS,
    }
    return environment


def _defined(render: Any, value: Any, *args: Any) -> str:
    return render(None if isinstance(value, jinja2.Undefined) else value, *args)


def headline(sentence: str | None) -> tuple[str, str]:
    """A long sentence in two: the answer, up to its colon, and the grounds for it in smaller type."""
    text = values.words(sentence)
    opening, colon, grounds = text.partition(": ")
    return (opening + ":", grounds) if colon and len(text) > 120 else (text, "")


def all_warnings(results: dict) -> list[str]:
    """Every warning of the run once, those about the judge's independence first."""
    judge = results.get("judge") or {}
    shared = "The judge is the encoder that makes the score: its verdict on that score does not count."
    found = [shared] if judge.get("independent") is False else []
    found += [*(judge.get("warnings") or []), *(results.get("warnings") or [])]
    return list(dict.fromkeys(str(text) for text in found))


def whisker(row: dict, column: str, rows: Sequence[dict], scale: tuple[float, float]) -> dict[str, float] | None:
    """Where to draw a value and its interval on a scale from 0 to 100, or None when the value is missing.

    The scale spans `scale`, whose first end means "nothing", widened to hold every row of the column, so that the
    rows can be compared.
    """
    if not values.present(row.get(column)):
        return None
    keys = (column, f"{column}_low", f"{column}_high")
    known = [entry[key] for entry in rows for key in keys if values.present(entry.get(key))]
    low, high = min([*scale, *known]), max([*scale, *known])

    def place(value: float) -> float:
        return round(100 * (value - low) / ((high - low) or 1), 2)

    ends = [row[key] if values.present(row.get(key)) else row[column] for key in keys]
    return {"middle": place(ends[0]), "low": place(ends[1]), "high": place(ends[2]), "zero": place(scale[0])}


def selection(results: dict, limit: int) -> np.ndarray:
    """Indices of the samples that the page shows: all, or `limit` of them evenly along the first score's ranking."""
    columns, rows = results["samples"]["columns"], results["samples"]["rows"]
    if len(rows) <= limit:
        return np.arange(len(rows))
    column = columns.index(f"score_{results['scores'][0]['name']}")
    ranking = np.argsort([row[column] if values.present(row[column]) else math.inf for row in rows], kind="stable")
    return np.sort(ranking[np.round(np.linspace(0, len(rows) - 1, limit)).astype(int)])


def page_data(results: dict, shown: np.ndarray) -> dict[str, Any]:
    """The numbers that the page's script reads."""
    series = [
        {"name": entry.name, "label": entry.label, "kind": entry.kind, "colour": entry.variable}
        for entry in series_of(results)
    ]
    rows = [[_short(value) for value in results["samples"]["rows"][index]] for index in shown]
    curves = [
        {metric: _rounded(curve) for metric, curve in (score.get("curves") or {}).items()}
        for score in results["scores"]
    ]
    classes = (results.get("data") or {}).get("class_names") or []
    columns = results["samples"]["columns"]
    return {"series": series, "columns": columns, "rows": rows, "classes": classes, "curves": curves}


def _rounded(curve: dict[str, list]) -> dict[str, list]:
    return {key: [_short(value) for value in row] for key, row in curve.items()}


def _short(value: Any) -> Any:
    """Eight significant digits: more would only make the page larger."""
    return float(f"{value:.8g}") if isinstance(value, float) else value


def _embedded(samples: Samples) -> tuple[dict[str, Sprites], dict[str, Any]]:
    """Sprite sheets (none for points), and where the script finds each sample and draw."""
    many = samples.draws.shape[1]
    if samples.are_points:
        points = {"samples": samples.finals.round(4).tolist(), "draws": samples.draws.round(4).tolist()}
        return {}, {"draws": many, "points": points}
    flat = samples.draws.reshape(-1, *samples.draws.shape[2:])
    finals, draws = page_sprites([samples.finals, flat])
    layout = {"samples": finals.layout(), "draws": draws.layout()}
    return {"samples": finals, "draws": draws}, {"draws": many, "sprites": layout}


def _panel(plot: Any, results: dict, metric: str, prefix: str, alt: str, room: Room | None = None) -> Panel:
    """Draw one panel and note where its axes lie, in fractions of the element, for the script's read-out.

    `prefix` goes into the ids of the SVG as it is: a word of ours, never a name from the results.
    """
    boxes: list[dict[str, Any]] = []

    def draw(axes: Axes) -> None:
        plot(axes, results, metric)
        box = axes.get_position()
        boxes.append(
            {"left": box.x0, "right": box.x1, "top": 1 - box.y1, "bottom": 1 - box.y0, "limits": axes.get_xlim()}
        )

    figure = figure_of([draw], room or Room())
    return Panel(Markup(inline_svg(figure, prefix)), alt, metric, boxes[0])


def _retention(results: dict) -> list[Panel]:
    metrics = plots.metrics_in(results, "curves")
    return [
        _panel(plots.retention, results, metric, f"curve-{index}", plots.describe_retention(results, metric))
        for index, metric in enumerate(metrics)
    ]


def _bins(results: dict) -> list[Panel]:
    panels = []
    for index, metric in enumerate(plots.metrics_in(results, "bins")):
        alt = f"{plots.metric_label(metric)} of each quantile bin of each score, {plots.direction(metric)}."
        panels.append(_panel(plots.bins, results, metric, f"bins-{index}", alt))
    return panels


def _forest(results: dict) -> list[Panel]:
    panels = []
    for index, target in enumerate(plots.targets_in(results)):
        name = vocabulary.TARGETS.get(target, target).lower()
        alt = f"Rank correlation of each score with {name}, with intervals; the numbers are in the table below."
        panels.append(_panel(plots.forest, results, target, f"forest-{index}", alt, FOREST))
    return panels


def _quality(results: dict) -> Panel | None:
    quality = (results.get("posterior") or {}).get("quality") or {}
    if not quality.get("fid_draws"):
        return None
    draw: Draw = functools.partial(plots.draws_quality, results=results)
    figure = figure_of([draw], STRIP)
    return Panel(Markup(inline_svg(figure, "quality")), "FID under each weight draw and under the trained weights.")
