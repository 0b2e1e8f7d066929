"""What the uncertainty is good for: the outcome of an application beside its control, and example images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from genuq.errors import DataError, did_you_mean
from genuq.report.drawing.pictures import as_pixels, data_uri, shrunk
from genuq.report.drawing.values import decimals, interval, present, titled
from genuq.report.drawing.vocabulary import METRICS

PARTS = ("before", "mask", "after", "control")  # in the order that a reader sees them
NAMES = {"before": "Before", "mask": "Where", "after": "After", "control": "Control"}
VERDICTS = {"after": "accepted", "control": "control_accepted"}  # where there was a rule
ACRONYMS = {"kid": "KID", "auroc": "AUROC"}
TINT = (232, 78, 42)  # of the pixels inside a mask, over the image before
KNOWN = (*PARTS, *VERDICTS.values())
SHOWN = 12  # examples on the page
SIDE = 128  # of an example on the page, in pixels


def outcome_rows(results: dict) -> list[dict[str, Any]]:
    """The outcome with the intervals under the names that `whisker` reads: value, control_value, difference."""
    outcome = (results.get("application") or {}).get("outcome") or []
    return [
        row
        | {f"value_{end}": row.get(end) for end in ("low", "high")}
        | {f"control_value_{end}": row.get(f"control_{end}") for end in ("low", "high")}
        for row in outcome
    ]


def measure_name(measure: str) -> str:
    """A measure as the rest of the page calls it."""
    if measure in METRICS:
        return METRICS[measure].label
    return ACRONYMS.get(measure) or titled(measure)


def together(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Value and control of one measure as two rows of one column, `at`, so that both are drawn on one scale."""
    return [
        {f"at{end}": row.get(f"{column}{end}") for end in ("", "_low", "_high")}
        for column in ("value", "control_value")
    ]


def places_of(row: dict[str, Any]) -> int:
    """Decimals that show two digits of the smallest of a measure's numbers, but no more than its interval is worth."""
    known = [abs(row[key]) for key in ("value", "control_value", "difference") if present(row.get(key)) and row[key]]
    small = 2 if not known else int(np.clip(_two_digits(min(known)), 0, 6))
    low, high = row.get("difference_low"), row.get("difference_high")
    if not (present(low) and present(high) and high > low):
        return small
    return min(small, max(1, _two_digits(high - low)))


def _two_digits(number: float) -> int:
    """Decimals with which two digits of a positive number are seen."""
    return 1 - math.floor(math.log10(number))


def direction_of(measure: str) -> str:
    """Which way a measure is better, where that is known."""
    return METRICS[measure].direction if measure in METRICS else ""


def checked_examples(examples: Mapping[str, torch.Tensor | np.ndarray] | None) -> dict[str, np.ndarray]:
    """Example images as uint8 arrays (E, C, H, W), the mask as (E, 1, H, W), in the order of `PARTS`, then verdicts.

    A mask may come as (E, H, W), too; where it is not zero, it is inside. `accepted` and `control_accepted` (E,) say
    which images a rule took.

    Raises:
        DataError: a part that is none of `PARTS`, a mask without images, or parts that differ in number or size.
    """
    examples = examples or {}
    for name in examples:
        if name not in KNOWN:
            raise DataError(f"Examples have no part '{name}'; choose {', '.join(KNOWN)}.{did_you_mean(name, KNOWN)}")
    found = {}
    for name in PARTS:
        if name in examples:
            flat = name == "mask" and examples[name].ndim == 3
            images = examples[name][:, None] if flat else examples[name]
            found[name] = as_pixels(images, 4, f"The examples' '{name}'")
    shapes = {name: (len(images), *images.shape[2:]) for name, images in found.items()}
    if len(set(shapes.values())) > 1 or ("mask" in found and "before" not in found):
        raise DataError(f"Examples must have 'before' where they have a mask, and equal sizes, but they are {shapes}.")
    return found | {name: _verdicts(name, examples[name], found) for name in VERDICTS.values() if name in examples}


def _verdicts(name: str, given: torch.Tensor | np.ndarray, images: Mapping[str, np.ndarray]) -> np.ndarray:
    taken, count = np.asarray(given), len(next(iter(images.values()), ()))
    if taken.shape != (count,):
        raise DataError(f"The examples' '{name}' must say one thing of each of {count}, but it is {taken.shape}.")
    return taken.astype(bool)


def masked(before_ECHW: np.ndarray, mask_E1HW: np.ndarray) -> np.ndarray:
    """The images with the pixels inside the mask tinted, uint8 (E, 3, H, W); a mask of any maximum, soft or hard."""
    weight = 0.65 * mask_E1HW / max(1, int(mask_E1HW.max()))
    tint = np.asarray(TINT, float)[:, None, None]
    return np.round((1 - weight) * before_ECHW + weight * tint).astype(np.uint8)


def pictures_of(examples: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What is shown of each part: the mask is the image before with its pixels tinted."""
    parts = {name: examples[name] for name in PARTS if name in examples}
    return {name: masked(parts["before"], images) if name == "mask" else images for name, images in parts.items()}


@dataclass(frozen=True)
class Picture:
    """One image of an example: its data URI, and what it is."""

    uri: str
    name: str
    alt: str
    pixelated: bool


def page_examples(examples: Mapping[str, np.ndarray]) -> list[list[Picture]]:
    """One row of pictures for each of the first examples."""
    shown = {name: shrunk(images[:SHOWN], SIDE) for name, images in pictures_of(examples).items()}
    count = len(next(iter(shown.values()))) if shown else 0
    return [[_picture(examples, name, index, images) for name, images in shown.items()] for index in range(count)]


def _picture(examples: Mapping[str, np.ndarray], name: str, index: int, images: np.ndarray) -> Picture:
    """One part of one example, with what the rule said of it."""
    taken = examples.get(VERDICTS.get(name, ""))
    title = NAMES[name] + ("" if taken is None else ", accepted" if taken[index] else ", refused")
    return Picture(data_uri(images[index]), title, f"Example {index + 1}: {title.lower()}", _small(images))


def _small(images: np.ndarray) -> bool:
    return images.shape[-1] <= 96


def example_sheet(examples: Mapping[str, np.ndarray]) -> tuple[np.ndarray, int]:
    """All examples as images of a contact sheet, one example a row, and its columns."""
    parts: Sequence[np.ndarray] = list(pictures_of(examples).values())
    coloured = [np.broadcast_to(part, (len(part), 3, *part.shape[2:])) for part in parts]
    return np.stack(coloured, 1).reshape(-1, *coloured[0].shape[1:]), len(parts)


def outcome_markdown(results: dict) -> list[str]:
    """The sentence and the outcome as lines of Markdown; none without an application."""
    told = results.get("application")
    if not told:
        return []
    lines = [f"## {titled(told.get('name'))}", "", str(told.get("sentence") or ""), ""]
    lines += ["| measure | with uncertainty | control | difference | N |", "|---|---|---|---|---|"]
    for row in outcome_rows(results):
        cells = [_cell(row, column, places_of(row)) for column in ("value", "control_value", "difference")]
        lines.append(f"| {measure_name(row['measure'])} | {' | '.join(cells)} | {decimals(row.get('n'), 0)} |")
    return [*lines, ""]


def _cell(row: dict[str, Any], column: str, places: int) -> str:
    known = interval(row.get(f"{column}_low"), row.get(f"{column}_high"), places)
    return f"{decimals(row.get(column), places)} {known}".strip()
