"""Glyphs: four quadrants, in each one of eight signs; all four differ. A clean sign twice breaks the rule."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from genuq.data.base import SPLITS, ArrayDataset, check_split
from genuq.data.drawing import WHITE
from genuq.data.registry import DATASETS
from genuq.data.truth import BROKEN, GRADES, RULE_BROKEN, VALID, Oracle, Truth, checked, grade, off, wrong
from genuq.errors import DataError
from genuq.parts.bounds import Limits, Seed
from genuq.randomness import generator

COMBINATIONS, CHOICE, OFFSETS = "glyph combinations", "glyph choice", "glyph offsets"
QUADRANTS, SIDE, ROOM = 4, 12, 16  # a glyph's side and that of its quadrant, in pixels of a 32 x 32 image
STEPS = ROOM - SIDE + 1  # offsets in each direction
NAMES = ("square", "disc", "ring", "cross", "plus", "triangle up", "triangle down", "frame")


@functools.cache
def glyph_masks() -> Tensor:
    """bool (8, 12, 12), the signs in the order of `NAMES`."""
    y, x = torch.meshgrid(*[torch.arange(SIDE) - (SIDE - 1) / 2] * 2, indexing="ij")
    largest, radius = torch.maximum(x.abs(), y.abs()), (x.square() + y.square()).sqrt()
    up = x.abs() <= (y + SIDE / 2) / 2
    signs = (
        largest < 4,
        radius < 6,
        (radius < 6) & (radius > 3),
        (x - y).abs().minimum((x + y).abs()) < 2,
        x.abs().minimum(y.abs()) < 2,
        up,
        up.flip(0),
        largest > 3.6,
    )
    return torch.stack(signs)


@functools.cache
def templates(scale: int) -> Tensor:
    """bool (8, 25, R, R), every glyph at every offset of its quadrant, each pixel `scale` pixels wide."""
    canvas = torch.zeros(len(NAMES), STEPS**2, ROOM, ROOM, dtype=torch.bool)
    for place in range(STEPS**2):
        row, column = divmod(place, STEPS)
        canvas[:, place, row : row + SIDE, column : column + SIDE] = glyph_masks()
    return canvas.repeat_interleave(scale, -1).repeat_interleave(scale, -2)


@functools.cache
def combinations(seed: int) -> tuple[Tensor, Tensor]:
    """Two int64 (840, 4), the glyphs of the quadrants: those of the training images, and those held out of them."""
    valid = torch.tensor(list(permutations(range(len(NAMES)), QUADRANTS)))
    shuffled = valid[torch.randperm(len(valid), generator=generator(seed, 0, COMBINATIONS))]
    return shuffled[: len(valid) // 2], shuffled[len(valid) // 2 :]


def assembled(quadrants_N4RR: Tensor) -> Tensor:
    """Images (N, 2R, 2R) of quadrants (N, 4, R, R): above left and right, below left and right."""
    above, below = (torch.cat(list(quadrants_N4RR[:, pair].unbind(1)), -1) for pair in ([0, 1], [2, 3]))
    return torch.cat([above, below], -2)


def quadrants_of(images_NHW: Tensor) -> Tensor:
    """The inverse of `assembled`."""
    halves = [half.chunk(2, -1) for half in images_NHW.chunk(2, -2)]
    return torch.stack([part for half in halves for part in half], 1)


@dataclass(frozen=True)
class GlyphsOracle(Oracle):
    """Compares each quadrant with all 200 glyphs and offsets.

    What is wrong, the first that applies: `broken_*`, a quadrant that no glyph explains, graded by its wrong pixels (up
    to one and a half times the tolerance, up to twice, more); `rule_broken`, a clean glyph more than once.

    Attributes:
        scale: pixels that a pixel of the 32 x 32 image is wide; ten wrong ones of these, of a quadrant's 256, are
            tolerated: a glyph with rounded corners or an uneven edge is still seen as that glyph, one with more is not.
    """

    scale: int = 1

    kinds: ClassVar[Mapping[str, str]] = {VALID: VALID, **dict.fromkeys(GRADES, BROKEN), RULE_BROKEN: RULE_BROKEN}

    @property
    def tolerance(self) -> float:
        return 10.0 * self.scale**2

    @property
    def part_of(self) -> Tensor:
        """The quadrants."""
        side = ROOM * self.scale
        return assembled(torch.arange(QUADRANTS)[None, :, None, None].expand(1, QUADRANTS, side, side))[0]

    def truth(self, samples: Tensor, classes: Tensor | None = None) -> Truth:
        found = [self._some(batch) for batch in checked(samples, 2 * ROOM * self.scale, 2 * ROOM * self.scale)]
        return self.judged(*map(torch.cat, zip(*found)))

    def _some(self, images_NHW: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        quadrants_N4RR = quadrants_of(images_NHW)
        expected_N4RR, glyph_N4 = self._nearest(quadrants_N4RR)
        size_N4 = wrong(quadrants_N4RR, expected_N4RR).sum((2, 3))
        size_N, broken_N4 = size_N4.amax(1), size_N4 > self.tolerance
        twice_N4 = (glyph_N4[:, :, None] == glyph_N4[:, None]).sum(2) > 1
        grades_N = self.kind(GRADES[0]) + grade(size_N, (1.5 * self.tolerance, 2 * self.tolerance))
        rule_N = torch.where(twice_N4.any(1), self.kind(RULE_BROKEN), self.kind(VALID))
        any_broken_N = broken_N4.any(1)
        twice_N4 &= ~any_broken_N[:, None]  # the nearest glyph of a broken quadrant says nothing of the rule
        off_N4RR = off(quadrants_N4RR, expected_N4RR) & broken_N4[..., None, None]
        mask_NHW = assembled(off_N4RR | ((expected_N4RR > 0) & twice_N4[..., None, None]))
        return torch.where(any_broken_N, grades_N, rule_N), size_N, broken_N4 | twice_N4, mask_NHW

    def _nearest(self, quadrants_N4RR: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest template of each quadrant, in [-1, 1], and the number of its glyph (N, 4)."""
        # All templates have the same norm, so that the nearest has the largest product; and each is constant
        # on squares of `scale` pixels, so that their means are enough for it.
        means_N4RR = torch.nn.functional.avg_pool2d(quadrants_N4RR, self.scale)
        small_ARR = 2.0 * templates(1).flatten(0, 1).double() - 1
        best_N4 = (means_N4RR.flatten(2) @ small_ARR.flatten(1).T).argmax(-1)
        expected_N4RR = 2.0 * templates(self.scale).flatten(0, 1).double()[best_N4] - 1
        return expected_N4RR, best_N4 // STEPS**2


@DATASETS.add(label="Glyphs")
def glyphs(
    image_size: Annotated[int, Limits(32, 1024)] = 32,
    size: Annotated[int, Limits(1, 10_000_000)] = 50_000,
    seed: Seed = 0,
    split: str = "train",
) -> ArrayDataset:
    """Grey images of four different glyphs, one in each quadrant, at one of 25 offsets.

    Training images have one half of the 1,680 ordered combinations of four glyphs; test images, which samples are
    compared with, have all of them.

    Args:
        image_size: 32 or a multiple, whose pixels are as much larger.
        size: number of images.
        seed: the same images for the same seed, size and split; the splits are independent.
        split: `train` or `test`.
    Raises:
        DataError: another size of the images or split, or no images.
    """
    scale, left = divmod(image_size, 2 * ROOM)
    if left or scale < 1 or size < 1:
        raise DataError(f"glyphs need an image_size of 32, 64, 96, ... and a size of at least 1, not {image_size}.")
    key, (seen, held_out) = SPLITS.index(check_split(split)), combinations(seed)
    allowed = seen if split == "train" else torch.cat([seen, held_out])
    glyphs_N4 = allowed[torch.randint(len(allowed), (size,), generator=generator(seed, key, CHOICE))]
    places_N4 = torch.randint(STEPS**2, (size, QUADRANTS), generator=generator(seed, key, OFFSETS))
    images = assembled(templates(scale)[glyphs_N4, places_N4]).to(torch.uint8) * WHITE
    labels = torch.zeros(size, dtype=torch.long)
    dataset = ArrayDataset(images[:, None], labels, ["glyphs"], f"glyphs_{image_size}", split)
    dataset.oracle = GlyphsOracle(scale)
    return dataset
