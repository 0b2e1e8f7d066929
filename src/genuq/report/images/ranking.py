"""Scored images in the order of doubt: the rank and the percentiles of each, which are kept, and all of it as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from genuq.analysis.filtering import keep_lowest, kept_count
from genuq.analysis.inputs import Array
from genuq.errors import ConfigurationError
from genuq.report.drawing.spreadsheet import csv_table


@dataclass(frozen=True)
class Column:
    """One score of all images.

    Attributes:
        name, label, kind: as `genuq.scores.SCORES` has them.
        values: (N,) float64, higher is less to be trusted.
        evaluations: of the network, for one image, were it the only score.
    """

    name: str
    label: str
    kind: str
    values: Array
    evaluations: float

    @cached_property
    def percentiles(self) -> Array:
        """Of each image, the percentage of the other images whose score is lower: 100 is the most doubtful."""
        below = np.searchsorted(np.sort(self.values), self.values, side="left")
        return 100 * below / max(1, len(self.values) - 1)


@dataclass(frozen=True)
class Ranking:
    """Images with their scores, the first of which ranks them.

    Attributes:
        names: of the files, below their folder.
        classes: what each was asked to be; empty where the model knows no classes.
        columns: scores.
        kept: bool (N,); None where nothing was to be kept.
    """

    names: Sequence[str]
    classes: Sequence[str]
    columns: Sequence[Column]
    kept: Array | None = None

    @cached_property
    def order(self) -> list[int]:
        """Rows from the most to the least doubtful; of equal ones the first name comes last, and is kept first."""
        return [int(row) for row in np.argsort(self.columns[0].values, kind="stable")[::-1]]

    def csv(self) -> str:
        """A line for each image, the most doubtful first."""
        heads = ["rank", "file", *(["class"] if self.classes else []), *([] if self.kept is None else ["kept"])]
        heads += [name for column in self.columns for name in (column.name, f"{column.name}_percentile")]
        return csv_table([heads, *(self._line(rank, row) for rank, row in enumerate(self.order, 1))])

    def _line(self, rank: int, row: int) -> list[object]:
        known: list[object] = [rank, self.names[row], *([self.classes[row]] if self.classes else [])]
        known += [] if self.kept is None else ["yes" if self.kept[row] else "no"]
        pairs = ((float(one.values[row]), round(float(one.percentiles[row]), 4)) for one in self.columns)
        return [*known, *(number for pair in pairs for number in pair)]


def parsed_keep(text: str) -> float | int:
    """What `--keep` says: a share of the images where it has a decimal point, else a number of them.

    Raises:
        ConfigurationError: neither, or a share outside of (0, 1), or no image.
    """
    try:
        value = float(text) if "." in text else int(text)
    except ValueError:
        value = 0
    if not (0 < value < 1 if isinstance(value, float) else value >= 1):
        raise ConfigurationError(f"--keep {text}: give a share of the images, 0.8, or a number of them, 100.")
    return value


def require_some(keep: float | int, count: int) -> None:
    """Raise ConfigurationError where `--keep` would keep no image, or leave none out."""
    number = kept_count(keep, count) if isinstance(keep, float) else keep
    if not 0 < number < count:
        raise ConfigurationError(f"--keep {keep} keeps {number} of {count} images. Keep some and leave some out.")


def kept_by(values: Array, keep: float | int) -> Array:
    """bool (N,), the images with the lowest scores; ties go to the first."""
    share = keep if isinstance(keep, float) else keep / len(values)
    kept = np.zeros(len(values), dtype=bool)
    kept[keep_lowest(values, share)] = True
    return kept
