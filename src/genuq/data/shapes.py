"""Shapes: a triangle, a square and a pentagon, each in a panel of its own; more of one, or one elsewhere, is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from genuq.data.base import SPLITS, ArrayDataset, check_split
from genuq.data.drawing import paint, polygon, rectangle, regular_polygon
from genuq.data.figures import NOTHING, Figures, figures_in
from genuq.data.registry import DATASETS
from genuq.data.truth import BROKEN, GRADES, RULE_BROKEN, VALID, Oracle, Truth, checked, grade, off, wrong
from genuq.errors import DataError
from genuq.parts.bounds import Limits, OneOf, Seed
from genuq.randomness import generator

PRESENT, PLACES = "shapes present", "shapes places"
PANELS = 3  # triangle | square | pentagon
FOREIGN, CROWDED, EMPTY = "foreign", "crowded", "empty"


@dataclass(frozen=True)
class Geometry:
    """Sizes in pixels.

    Attributes:
        panel: width and height of a panel.
        square: side of the square.
        triangle: base, distance of the apex from the base's left end along it, height; the apex is below.
        pentagon: circumradius.
        tolerance: wrong pixels of a panel that still count as none.
    """

    panel: tuple[int, int]
    square: int
    triangle: tuple[int, int, int]
    pentagon: int
    tolerance: float

    @cached_property
    def figures(self) -> tuple[Tensor, Tensor, Tensor]:
        """int64 (P, 2), the pixels of triangle, square and pentagon around their origins."""
        base, apex, height = self.triangle
        return (
            polygon([(0, 0), (base, 0), (apex, height)]),
            rectangle(self.square, self.square),
            regular_polygon(5, self.pentagon),
        )

    @property
    def ranges(self) -> tuple[tuple[range, range], ...]:
        """Rows and columns that each shape's origin may have in its panel; the ends are those of the source's script.

        A corner of the triangle or pentagon that reaches beyond its panel by a pixel is cut off there.
        """
        width, height = self.panel
        side, (base, _, _), radius = self.square - 1, self.triangle, self.pentagon
        return (
            (range(0, height - base + 1), range(0, width - base + 1)),
            (range(1, height - 2 * side + 1), range(1, width - 2 * side + 1)),
            (range(radius, height - radius + 1), range(radius, width - radius + 1)),
        )


GEOMETRIES = {
    32: Geometry((10, 31), 5, (7, 3, 6), 3, 4.0),
    64: Geometry((21, 63), 8, (11, 5, 9), 5, 8.0),
    128: Geometry((42, 126), 16, (22, 10, 18), 10, 16.0),
}


@dataclass(frozen=True)
class ShapesOracle(Oracle):
    """Finds the shapes of an image and checks them against their panels.

    What is wrong, the first that applies: `broken_*`, something in a panel that no shape explains, such as a deformed
    shape or two that have grown together, graded by its wrong pixels (up to one and a half times the tolerance, up to
    twice, more); `foreign`, a whole shape in another's panel or across two; `crowded`, more than one in a panel;
    `empty`, none at all.

    Attributes:
        image_size: side of the images; the tolerance is in `GEOMETRIES`.
    """

    image_size: int = 64

    kinds: ClassVar[Mapping[str, str]] = {
        VALID: VALID,
        **dict.fromkeys(GRADES, BROKEN),
        **dict.fromkeys((FOREIGN, CROWDED, EMPTY), RULE_BROKEN),
    }

    @property
    def geometry(self) -> Geometry:
        return GEOMETRIES[self.image_size]

    @property
    def tolerance(self) -> float:
        return self.geometry.tolerance

    @property
    def part_of(self) -> Tensor:
        """The panels."""
        return self._columns[None].expand(self.image_size, self.image_size)

    def truth(self, samples: Tensor, classes: Tensor | None = None) -> Truth:
        found = [self._some(batch) for batch in checked(samples, self.image_size, self.image_size)]
        return self.judged(*map(torch.cat, zip(*found)))

    def _some(self, images_NHW: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        figures = figures_in(images_NHW > 0, self.geometry.figures)
        expected_NHW = 2.0 * figures.explained_NHW - 1
        size_NP = self._by_panel(wrong(images_NHW, expected_NHW))
        broken_NP = size_NP > self.tolerance
        shape_K, panel_K = figures.figure_K != NOTHING, self._panel_of(figures)
        foreign_K = shape_K & (panel_K != figures.figure_K)
        count_NP = self._counts(figures, shape_K, len(images_NHW))
        crowded_NP = count_NP > 1
        places = figures.image_K, self._nearest_panel(figures)
        crowded_K = shape_K & crowded_NP[places]
        foreign_NP = self._counts(figures, foreign_K, len(images_NHW)) > 0
        size_N = size_NP.amax(1)
        kinds_N = torch.full((len(images_NHW),), self.kind(VALID))
        kinds_N[count_NP.sum(1) == 0] = self.kind(EMPTY)
        kinds_N[crowded_NP.any(1)] = self.kind(CROWDED)
        kinds_N[foreign_NP.any(1)] = self.kind(FOREIGN)
        grades_N = self.kind(GRADES[0]) + grade(size_N, (1.5 * self.tolerance, 2 * self.tolerance))
        kinds_N = torch.where(broken_NP.any(1), grades_N, kinds_N)
        parts_NP = broken_NP | crowded_NP | foreign_NP
        parts_NP[kinds_N == self.kind(EMPTY)] = True
        off_NHW = off(images_NHW, expected_NHW) & self._panels(broken_NP)
        # what is nearest to the pieces of a broken panel says nothing of the rule: its wrong pixels alone count
        against_rule_K = (foreign_K | crowded_K) & ~broken_NP[places]
        return kinds_N, size_N, parts_NP, off_NHW | figures.pixels_of(against_rule_K)

    @property
    def _columns(self) -> Tensor:
        """int64 (W,), the panel of each column; what is left on the right belongs to the last."""
        return (torch.arange(self.image_size) // self.geometry.panel[0]).clamp(max=PANELS - 1)

    def _by_panel(self, values_NHW: Tensor) -> Tensor:
        """Sums (N, P) over the panels."""
        return values_NHW.sum(1) @ torch.nn.functional.one_hot(self._columns, PANELS).double()

    def _panels(self, chosen_NP: Tensor) -> Tensor:
        """bool (N, 1, W), the columns of some panels."""
        return chosen_NP[:, None, self._columns]

    def _panel_of(self, figures: Figures) -> Tensor:
        """(K,), the panel that a component lies in; -1: across two."""
        first, last = self._columns[figures.left_K], self._columns[figures.right_K]
        return torch.where(first == last, first, -1)

    def _nearest_panel(self, figures: Figures) -> Tensor:
        """(K,), the panel of a component's middle."""
        return self._columns[(figures.left_K + figures.right_K) // 2]

    def _counts(self, figures: Figures, chosen_K: Tensor, images: int) -> Tensor:
        """(N, P), how many of some components have their middle in each panel."""
        places = figures.image_K * PANELS + self._nearest_panel(figures)
        return torch.bincount(places[chosen_K], minlength=images * PANELS).reshape(images, PANELS)


@DATASETS.add(label="Shapes")
def shapes(
    image_size: Annotated[int, OneOf(32, 64, 128)] = 64,
    size: Annotated[int, Limits(1, 10_000_000)] = 5_000,
    seed: Seed = 0,
    split: str = "train",
) -> ArrayDataset:
    """Grey images of a triangle, a square and a pentagon on black, each with probability 1/2 and in a panel of its own.

    Args:
        image_size: 64 is the published protocol; 32 and 128 the same with smaller and larger shapes.
        size: number of images; none is empty.
        seed: the same images for the same seed, size and split; the splits are independent.
        split: `train` or `test`.
    Raises:
        DataError: another size of the images or split, or no images.
    Source: Aithal et al., Understanding hallucinations in diffusion models through mode interpolation, NeurIPS 2024,
        arXiv:2406.09358.
    """
    if image_size not in GEOMETRIES or size < 1:
        raise DataError(f"image_size of shapes is one of {', '.join(map(str, GEOMETRIES))}, size at least 1.")
    key, geometry = SPLITS.index(check_split(split)), GEOMETRIES[image_size]
    subsets_N = torch.randint(1, 2**PANELS, (size,), generator=generator(seed, key, PRESENT))
    source, canvas = generator(seed, key, PLACES), torch.zeros(size, image_size, image_size, dtype=torch.uint8)
    width = geometry.panel[0]
    for panel, (figure, ranges) in enumerate(zip(geometry.figures, geometry.ranges)):
        corners_N2 = torch.stack([torch.randint(r.start, r.stop, (size,), generator=source) for r in ranges], 1)
        chosen = (subsets_N >> panel & 1).nonzero()[:, 0]
        columns = (panel * width, (panel + 1) * width)
        paint(canvas, chosen, corners_N2[chosen] + torch.tensor([0, panel * width]), figure, columns)
    labels = torch.zeros(size, dtype=torch.long)
    dataset = ArrayDataset(canvas[:, None], labels, ["shapes"], f"shapes_{image_size}", split)
    dataset.oracle = ShapesOracle(image_size)
    return dataset
