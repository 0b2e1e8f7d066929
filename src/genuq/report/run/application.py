"""What the uncertainty is good for: the outcome of an application beside its control, and example images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from genuq.analysis.results import Application, OutcomeRow
from genuq.analysis.score_entries import IntervalRow
from genuq.errors import DataError, did_you_mean
from genuq.report.drawing.markdown import code, prose, table_lines
from genuq.report.drawing.pictures import as_pixels, data_uri, shrunk
from genuq.report.drawing.values import DASH, decimals, interval, present, titled
from genuq.report.drawing.vocabulary import METRICS

PARTS = ("before", "mask", "after", "control")  # in the order that a reader sees them
NAMES = {"before": "Before", "mask": "Where", "after": "After", "control": "Control"}
VERDICTS = {"after": "accepted", "control": "control_accepted"}  # where there was a rule
ACRONYMS = {"kid": "KID", "auroc": "AUROC", "clip_score": "CLIP score"}
TINT = (232, 78, 42)  # of the pixels inside a mask, over the image before
INDICES = ("index", "after_index", "control_index")  # of the samples, rows of the run's table
KNOWN = (*PARTS, *VERDICTS.values(), *INDICES)
SHOWN = 12  # examples on the page
SIDE = 128  # of an example on the page, in pixels


def measure_name(measure: str) -> str:
    """A measure as the rest of the page calls it."""
    if measure in METRICS:
        return METRICS[measure].label
    return ACRONYMS.get(measure) or titled(measure)


def places_of(row: OutcomeRow) -> int:
    """Decimals that show two digits of the smallest of a measure's numbers, but no more than its interval is worth."""
    known = [abs(number) for number in (row.value, row.control_value, row.difference) if present(number) and number]
    small = 2 if not known else int(np.clip(_two_digits(min(known)), 0, 6))
    low, high = row.difference_low, row.difference_high
    if not (present(low) and present(high) and high > low):
        return small
    return min(small, max(1, _two_digits(high - low)))


def _two_digits(number: float) -> int:
    """Decimals with which two digits of a positive number are seen."""
    return 1 - math.floor(math.log10(number))


def checked_examples(examples: Mapping[str, torch.Tensor | np.ndarray] | None) -> dict[str, np.ndarray]:
    """Example images as uint8 arrays (E, C, H, W), the mask as (E, 1, H, W), in the order of `PARTS`, then verdicts.

    A mask may come as (E, H, W), too; where it is not zero, it is inside. `accepted` and `control_accepted` (E,) say
    which images a rule took; `index` (E,) which samples they are, `after_index` and `control_index` where others are
    shown there.

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
    said = {name: _said(name, examples[name], found) for name in (*VERDICTS.values(), *INDICES) if name in examples}
    return found | {name: values if name in INDICES else values.astype(bool) for name, values in said.items()}


def _said(name: str, given: torch.Tensor | np.ndarray, images: Mapping[str, np.ndarray]) -> np.ndarray:
    values, count = np.asarray(given), len(next(iter(images.values()), ()))
    if values.shape != (count,):
        raise DataError(f"The examples' '{name}' must say one thing of each of {count}, but it is {values.shape}.")
    return values


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
    """One image of an example: its data URI, what it is, and its prompt where that is not the whole example's."""

    uri: str
    name: str
    alt: str
    pixelated: bool
    prompt: str | None = None


class Example(NamedTuple):
    """What the page shows of one example: its pictures, and the prompt that they share, if they do."""

    pictures: list[Picture]
    prompt: str | None


def page_examples(examples: Mapping[str, np.ndarray], prompts: Sequence[str] = ()) -> list[Example]:
    """The first examples.

    Args:
        prompts: of all samples of the run; none: they had none.
    """
    shown = {name: shrunk(images[:SHOWN], SIDE) for name, images in pictures_of(examples).items()}
    count = len(next(iter(shown.values()))) if shown else 0
    rows = [[_picture(examples, name, index, images) for name, images in shown.items()] for index in range(count)]
    asked = [_prompts(examples, list(shown), index, prompts) for index in range(count)]
    return [_told(pictures, each) for pictures, each in zip(rows, asked)]


def _prompts(
    examples: Mapping[str, np.ndarray], names: Sequence[str], index: int, prompts: Sequence[str]
) -> list[str | None]:
    """Of each picture of an example; None: it had none, or nobody knows which sample it is."""
    same = "after_index" not in examples  # all are of one sample
    found: list[str | None] = []
    for name in names:
        rows = examples.get("index" if same or name in ("before", "mask") else f"{name}_index")
        found.append(prompts[rows[index]] if rows is not None and prompts else None)
    return found


def _told(pictures: list[Picture], prompts: list[str | None]) -> Example:
    several = {prompt for prompt in prompts if prompt is not None}
    if len(several) > 1:
        return Example([replace(one, prompt=prompt) for one, prompt in zip(pictures, prompts)], None)
    return Example(pictures, next(iter(several), None))


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


def outcome_markdown(told: Application | None) -> list[str]:
    """The sentence and the outcome as lines of Markdown; none without an application."""
    if told is None:
        return []
    rows = [
        [
            measure_name(row.measure),
            *(_cell(part, places_of(row)) for part in (row.ours, row.control, row.gap)),
            decimals(row.n, 0),
        ]
        for row in told.outcome
    ]
    headings = ["measure", "with uncertainty", "control", "difference", "N"]
    return [f"## {prose(titled(told.name))}", "", prose(told.sentence), "", *table_lines(headings, rows), ""]


def _cell(part: IntervalRow, places: int) -> str:
    return f"{decimals(part.value, places)} {interval(part.low, part.high, places)}".strip()


def application_markdown(command: str, told: Application) -> str:
    """Command, sentence, every number with four digits, notes: the file that the application leaves by itself."""
    rows = [
        [
            row.measure.replace("_", " "),
            *(f"{part.value:.4g} [{part.low:.4g}, {part.high:.4g}]" for part in (row.ours, row.control)),
            f"{row.difference:+.4g} [{row.difference_low:+.4g}, {row.difference_high:+.4g}]",
            str(row.n),
        ]
        for row in told.outcome
    ]
    table = table_lines(["measure", "value", "control", "difference", "n"], rows)
    foot = f"95 % intervals in brackets. Judge: {prose(told.judge or DASH)}."
    notes = map(prose, told.notes)
    return "\n".join([code(command), "", prose(told.sentence), "", *table, "", foot, *notes]) + "\n"
