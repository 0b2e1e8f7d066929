"""The page of scored images: the gallery of a run's page, the most doubtful first, and what the scores can say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import genuq
from genuq.report.drawing import document, vocabulary
from genuq.report.drawing.document import short
from genuq.report.drawing.pictures import ATTEMPTS, SAMPLE_BYTES, page_sprites, shrunk
from genuq.report.drawing.style import series_of
from genuq.report.drawing.values import evenly
from genuq.report.images.ranking import Column, Ranking

SCRIPTS = (
    "basics.js",
    "data.js",
    "sheets.js",
    "painting.js",
    "gallery.js",
    "detail.js",
    "common.js",
    "images/start.js",
)
WORDS = ("score", "control", "baseline", "evaluations", "draw", "posterior")
PAGE_IMAGES = 2048  # more would make the page slow; it then shows an even selection of the ranking, with both ends
FEW_IMAGES = 512  # so few may take the room of as many
AT_ONCE = 64  # images that are read together
NOTES = (
    "A score ranks these images by how doubtful they are to this model; it is no probability that one of them is bad. "
    "Of images that the model did not make, it says how this model sees them.",
    "Where truth was exact, re-noised disagreement of independent trainings found broken glyphs with AUROC 0.81 and "
    "LID at t = 0.5 with 0.77; on mixtures in the plane the disagreement pointed the other way. Look at both ends of "
    "the ranking before you filter by it.",
)

Pixels = Callable[[Sequence[int]], np.ndarray]


def render(
    ranking: Ranking, title: str, pixels: Pixels, evaluations: float, facts: Sequence[tuple[str, str]], command: str
) -> str:
    """The whole of index.html.

    Args:
        title: of the page.
        pixels: reads these rows as uint8 (B, C, H, W).
        evaluations: of the network for one image, of all scores together.
        facts: of model, posterior and seed, as words and values.
        command: that was typed.
    """
    shown = [ranking.order[place] for place in evenly(len(ranking.order), PAGE_IMAGES)]
    small = np.concatenate([_small(pixels(shown[start : start + AT_ONCE])) for start in range(0, len(shown), AT_ONCE)])
    (packed,) = page_sprites([small], SAMPLE_BYTES * max(FEW_IMAGES, len(shown)))
    series = series_of(ranking.columns)
    context = {
        "first": "samples",
        "title": title,
        "ranked_by": spoken_label(ranking.columns[0].label),
        "total": len(ranking.names),
        "shown": len(shown),
        "series": series,
        "summary": [summary_of(column) for column in ranking.columns],
        "kept": None if ranking.kept is None else int(ranking.kept.sum()),
        "evaluations": evaluations,
        "facts": facts,
        "notes": NOTES,
        "command": command,
        "version": genuq.__version__,
        "glossary": {key: entry for key, entry in vocabulary.GLOSSARY.items() if key in WORDS},
        "images": {"samples": packed},
        "data": page_data(ranking, shown, series) | {"sprites": {"samples": packed.layout()}},
    }
    return document.render("images/index.html.j2", context, SCRIPTS, ("page.css",))


def spoken_label(label: str) -> str:
    """A score's label within a sentence: no capital in front, unless it is an abbreviation's."""
    return label[:1].lower() + label[1:] if label[1:2].islower() else label


def summary_of(column: Column) -> dict[str, float]:
    """Lowest, median and highest value of a score, and its cost."""
    low, middle, high = np.quantile(column.values, [0, 0.5, 1])
    return {"low": float(low), "median": float(middle), "high": float(high), "evaluations": column.evaluations}


def page_data(ranking: Ranking, shown: Sequence[int], series: Sequence[Any]) -> dict[str, Any]:
    """What the gallery's script reads: a row for each image that is shown, the most doubtful first."""
    number = {name: place for place, name in enumerate(sorted(set(ranking.classes)))}
    known: dict[str, Callable[[int], Any]] = {
        "file": lambda row: ranking.names[row],
        "class_name": lambda row: ranking.classes[row] if ranking.classes else None,
        "class": lambda row: number[ranking.classes[row]] if ranking.classes else None,
        "kept": lambda row: None if ranking.kept is None else bool(ranking.kept[row]),
    }
    columns = [*known, *(f"score_{column.name}" for column in ranking.columns)]
    rows = [
        [*(of(row) for of in known.values()), *(short(float(column.values[row])) for column in ranking.columns)]
        for row in shown
    ]
    entries = [{"name": one.name, "label": one.label, "kind": one.kind, "colour": one.variable} for one in series]
    facts = [["File", "file"], *([["Class", "class_name"]] if ranking.classes else [])]
    facts += [] if ranking.kept is None else [["Kept", "kept"]]
    return {
        "series": entries,
        "kinds": vocabulary.KIND_TITLES,
        "columns": columns,
        "rows": rows,
        "classes": [],
        "draws": 0,
        "unit": "images",
        "descending": True,
        "facts": facts,
    }


def _small(images: np.ndarray) -> np.ndarray:
    return shrunk(images, ATTEMPTS[0][2])
