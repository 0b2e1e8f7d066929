"""Gaussian mixtures, where truth is known: a point far from every mode is a hallucination."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from scipy.special import chdtri
from torch import Tensor

from genuq.data.base import SPLITS, ArrayDataset, check_split
from genuq.data.registry import DATASETS
from genuq.data.truth import BROKEN, VALID, Oracle, Truth
from genuq.errors import DataError
from genuq.parts.bounds import Limits, OneOf, Positive, Seed
from genuq.randomness import generator

MODES, NOISE = "mixture modes", "mixture noise"


INTERPOLATED, INVALID = "interpolated", "invalid"


@dataclass(frozen=True, eq=False)
class MixtureOracle(Oracle):
    """Tells points of a mode from those between two modes, and from all others.

    `valid`: within the tolerance of the nearest centre; `interpolated`: of the segment between the two nearest;
    `invalid`: neither, or not a number.

    Attributes:
        centres: (K, D).
        standard_deviation: of each mode, the same in all directions.
        deviations: in the plane, the standard deviations from a centre that a valid point may have; in D dimensions the
            distance that a true point exceeds as rarely, with probability exp(-deviations^2 / 2).
    """

    centres: Tensor
    standard_deviation: float
    deviations: float = 5.0

    kinds: ClassVar[Mapping[str, str]] = {VALID: VALID, INTERPOLATED: BROKEN, INVALID: BROKEN}

    @property
    def tolerance(self) -> float:
        return math.sqrt(chdtri(self.centres.shape[1], math.exp(-(self.deviations**2) / 2)))

    def truth(self, samples: Tensor, classes: Tensor | None = None) -> Truth:
        centres_KD, points_ND = self.centres.double(), samples.double().cpu()
        if points_ND.ndim != 2 or points_ND.shape[1] != centres_KD.shape[1]:
            raise DataError(
                f"the oracle of this mixture knows points (N, {centres_KD.shape[1]}), not {tuple(points_ND.shape)}."
            )
        distance_N2, nearest_N2 = torch.cdist(points_ND, centres_KD).topk(2, largest=False)
        first_ND, second_ND = centres_KD[nearest_N2].unbind(1)
        reach = self.tolerance * self.standard_deviation
        kinds_N = torch.full((len(points_ND),), self.kind(INVALID))
        kinds_N[_from_segment(points_ND, first_ND, second_ND) <= reach] = self.kind(INTERPOLATED)
        kinds_N[distance_N2[:, 0] <= reach] = self.kind(VALID)
        sizes_N = distance_N2[:, 0] / self.standard_deviation
        return self.judged(kinds_N, sizes_N, torch.zeros(len(points_ND), 0, dtype=torch.bool))


class GaussianMixture(ArrayDataset):
    """Points (D,) labelled by the mode that made them.

    Attributes:
        centres: float32 (K, D).
        standard_deviation: of each mode, the same in all directions.
    """

    def __init__(
        self,
        points: Tensor,
        labels: Tensor,
        centres: Tensor,
        standard_deviation: float,
        split: str,
        name: str = "gaussian_mixture",
    ) -> None:
        names = [f"mode {mode}" for mode in range(len(centres))]
        super().__init__(points, labels, names, f"{name}_{len(centres)}", split)
        self.centres, self.standard_deviation = centres, standard_deviation
        self.oracle = MixtureOracle(centres, standard_deviation)


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


def _from_segment(points_ND: Tensor, start_ND: Tensor, end_ND: Tensor) -> Tensor:
    """(N,), the distance of each point to its own segment."""
    along_ND = end_ND - start_ND
    share_N = ((points_ND - start_ND) * along_ND).sum(1) / along_ND.square().sum(1)
    return (points_ND - start_ND - share_N.clamp(0, 1)[:, None] * along_ND).norm(dim=1)


def _circle() -> Tensor:
    angles = torch.arange(8) * (2 * math.pi / 8)
    return math.sqrt(2) * torch.stack([angles.cos(), angles.sin()], dim=1)


def _grid() -> Tensor:
    line = torch.linspace(-2, 2, 5) / math.sqrt(2)
    return torch.cartesian_prod(line, line)


LAYOUTS: dict[int, Callable[[], Tensor]] = {8: _circle, 25: _grid}
