"""Triangles: exactly three on every image; another number, or one that is no triangle, is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from genuq.data.base import SPLITS, ArrayDataset, check_split
from genuq.data.drawing import cropped, paint, polygon
from genuq.data.figures import NOTHING, figures_in
from genuq.data.registry import DATASETS
from genuq.data.truth import BROKEN, GRADES, RULE_BROKEN, VALID, Oracle, Truth, checked, grade, off, wrong
from genuq.errors import DataError
from genuq.parts.bounds import Limits, Seed
from genuq.randomness import generator

PLACES = "triangle places"
COUNT, GAP = 3, 2  # triangles on an image; pixels between their boxes
INK = 0.5  # a pixel above it is lit (the source's)


def side_of(image_size: int) -> int:
    """Base and height of a triangle: 8 of 64 pixels."""
    return image_size // 8


def triangle(image_size: int) -> Tensor:
    """int64 (P, 2), its pixels: the apex is above."""
    side = side_of(image_size)
    return cropped(polygon([(0, side), (side, side), (side / 2, 0)]))


@dataclass(frozen=True)
class TrianglesOracle(Oracle):
    """Counts the triangles of an image.

    What is wrong, the first that applies: `broken_*`, something on it that no triangle explains, graded by the wrong
    pixels of the whole image (up to one and a half times the tolerance, up to twice, more); `rule_broken`, whole
    triangles of another number than three. The source counts every component, of whatever form.

    Attributes:
        image_size: side of the images; twelve wrong pixels are tolerated at 64, in proportion at others.
    """

    image_size: int = 64

    kinds: ClassVar[Mapping[str, str]] = {VALID: VALID, **dict.fromkeys(GRADES, BROKEN), RULE_BROKEN: RULE_BROKEN}

    @property
    def tolerance(self) -> float:
        return COUNT * self.image_size / 16

    def truth(self, samples: Tensor, classes: Tensor | None = None) -> Truth:
        found = [self._some(batch) for batch in checked(samples, self.image_size, self.image_size)]
        return self.judged(*map(torch.cat, zip(*found)))

    def _some(self, images_NHW: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        figures = figures_in(images_NHW > INK, [triangle(self.image_size)])
        expected_NHW = 2.0 * figures.explained_NHW - 1
        size_N = wrong(images_NHW, expected_NHW).sum((1, 2))
        whole_K = figures.figure_K != NOTHING
        count_N = torch.bincount(figures.image_K[whole_K], minlength=len(images_NHW))
        broken_N, miscounted_N = size_N > self.tolerance, count_N != COUNT
        grades_N = self.kind(GRADES[0]) + grade(size_N, (1.5 * self.tolerance, 2 * self.tolerance))
        rule_N = torch.where(miscounted_N, self.kind(RULE_BROKEN), self.kind(VALID))
        kinds_N = torch.where(broken_N, grades_N, rule_N)
        off_NHW = off(images_NHW, expected_NHW) & broken_N[:, None, None]
        # of a broken image the whole triangles are right, and what is counted beside them may be none
        only_miscounted_N = miscounted_N & ~broken_N
        all_of_them = figures.pixels_of(whole_K & only_miscounted_N[figures.image_K])
        return kinds_N, size_N, (broken_N | miscounted_N)[:, None], off_NHW | all_of_them


@DATASETS.add(label="Triangles")
def triangles(
    image_size: Annotated[int, Limits(48, 1024)] = 64,
    size: Annotated[int, Limits(1, 10_000_000)] = 10_000,
    seed: Seed = 0,
    split: str = "train",
) -> ArrayDataset:
    """Grey images with exactly three equal triangles that do not touch, on black.

    Args:
        image_size: a multiple of 16 from 48 on; the triangles' side is an eighth of it.
        size: number of images.
        seed: the same images for the same seed, size and split; the splits are independent.
        split: `train` or `test`.
    Raises:
        DataError: another size of the images or split, or no images.
    Source: arXiv:2605.06831.
    """
    if image_size < 48 or image_size % 16 or size < 1:
        raise DataError(f"triangles need an image_size of 48, 64, 80, ... and a size of at least 1, not {image_size}.")
    key, figure = SPLITS.index(check_split(split)), triangle(image_size)
    corners_N32 = _apart(size, image_size, side_of(image_size) + 1, generator(seed, key, PLACES))
    canvas = torch.zeros(size, image_size, image_size, dtype=torch.uint8)
    paint(canvas, torch.arange(size).repeat_interleave(COUNT), corners_N32.reshape(-1, 2), figure)
    labels = torch.zeros(size, dtype=torch.long)
    dataset = ArrayDataset(canvas[:, None], labels, ["triangles"], f"triangles_{image_size}", split)
    dataset.oracle = TrianglesOracle(image_size)
    return dataset


def _apart(size: int, image_size: int, box: int, source: torch.Generator) -> Tensor:
    """int64 (N, 3, 2), corners of boxes that keep their distance; those of an image are drawn again until they do."""
    corners_N32 = torch.empty(size, COUNT, 2, dtype=torch.long)
    open_M = torch.arange(size)
    while len(open_M):
        drawn = torch.randint(1, image_size - box, (len(open_M), COUNT, 2), generator=source)
        corners_N32[open_M] = drawn
        near_MCC = ((drawn[:, :, None] - drawn[:, None]).abs() < box + GAP).all(-1)
        open_M = open_M[near_MCC.sum((1, 2)) > COUNT]
    return corners_N32
