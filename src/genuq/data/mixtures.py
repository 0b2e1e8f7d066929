"""Gaussian mixtures in the plane, where truth is known: a point far from every mode is a hallucination."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor

from genuq.data.base import SPLITS, ArrayDataset, check_split
from genuq.data.registry import DATASETS
from genuq.errors import DataError
from genuq.parts.bounds import Limits, OneOf, Positive, Seed
from genuq.randomness import generator

MODES, NOISE = "mixture modes", "mixture noise"


class GaussianMixture(ArrayDataset):
    """Points (2,) labelled by the mode that made them.

    Attributes:
        centres: float32 (K, 2).
        standard_deviation: of each mode, the same in both directions.
    """

    def __init__(self, points: Tensor, labels: Tensor, centres: Tensor, standard_deviation: float, split: str) -> None:
        names = [f"mode {mode}" for mode in range(len(centres))]
        super().__init__(points, labels, names, f"gaussian_mixture_{len(centres)}", split)
        self.centres, self.standard_deviation = centres, standard_deviation


@DATASETS.add(label="Gaussian mixture")
def gaussian_mixture(
    modes: Annotated[int, OneOf(8, 25)] = 8,
    size: Annotated[int, Limits(1, 100_000_000)] = 50_000,
    seed: Seed = 0,
    standard_deviation: Positive = 0.05,
    split: str = "train",
) -> GaussianMixture:
    """An equal-weight mixture whose centres have unit variance in each coordinate.

    Args:
        modes: 8 (on a circle of radius sqrt(2)) or 25 (a 5 x 5 grid of spacing sqrt(1/2)).
        size: number of points.
        seed: the same points for the same seed, size and split; the splits are independent.
        standard_deviation: of each mode; the default puts neighbouring modes 14 (grid) or 22 (circle) deviations apart.
        split: `train` or `test`.
    Raises:
        DataError: another number of modes or split, or a size or deviation that is not positive.
    """
    if modes not in LAYOUTS:
        raise DataError(f"a mixture of {modes} modes does not exist; modes is one of {', '.join(map(str, LAYOUTS))}.")
    if size < 1 or not 0 < standard_deviation < math.inf:
        raise DataError(f"a mixture needs a positive size and standard_deviation, not {size} and {standard_deviation}.")
    key = SPLITS.index(check_split(split))
    centres = LAYOUTS[modes]()
    labels = torch.randint(modes, (size,), generator=generator(seed, key, MODES))
    noise = torch.randn(size, 2, generator=generator(seed, key, NOISE))
    return GaussianMixture(centres[labels] + standard_deviation * noise, labels, centres, standard_deviation, split)


def off_mode(points_N2: Tensor, dataset: GaussianMixture, threshold: float = 4.0) -> Tensor:
    """Which points lie farther than `threshold` standard deviations from every centre, bool (N,).

    A true sample does so with probability exp(-threshold^2 / 2), 0.0003 at the default. NaN counts as off.
    """
    offsets_NK2 = points_N2.double().cpu()[:, None] - dataset.centres.double()
    nearest_N = offsets_NK2.norm(dim=-1).amin(dim=1)
    return ~(nearest_N <= threshold * dataset.standard_deviation)


def _circle() -> Tensor:
    angles = torch.arange(8) * (2 * math.pi / 8)
    return math.sqrt(2) * torch.stack([angles.cos(), angles.sin()], dim=1)


def _grid() -> Tensor:
    line = torch.linspace(-2, 2, 5) / math.sqrt(2)
    return torch.cartesian_prod(line, line)


LAYOUTS: dict[int, Callable[[], Tensor]] = {8: _circle, 25: _grid}
