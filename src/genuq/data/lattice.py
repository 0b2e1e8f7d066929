"""A mixture on a lattice in any dimension: 25 narrow modes, and room between them for points that should not be."""

from __future__ import annotations

import functools
import math
from typing import Annotated

import torch
from torch import Tensor

from genuq.data.base import SPLITS, check_split
from genuq.data.mixtures import MODES, NOISE, GaussianMixture
from genuq.data.registry import DATASETS
from genuq.errors import DataError
from genuq.parts.bounds import Limits, Positive, Seed
from genuq.randomness import generator

LEVELS = 5  # lattice values of each coordinate
CANDIDATES = 20_000  # lattice points that modes are chosen from, where it has more
LATTICE = "lattice candidates"


@functools.cache
def lattice_centres(dimension: int, modes: int = 25, spacing: float = 2.0) -> Tensor:
    """float32 (K, D), centres far from each other on a lattice of five values a coordinate.

    In the plane `spacing` is the lattice's; in D dimensions it is spacing * sqrt(2 / D), so that the corners are as far
    from the origin in all of them. The first centre is the origin, each further one the lattice point that is farthest
    from all before it, the first of equals; above six dimensions among 20,000 lattice points drawn at random.

    Raises:
        DataError: fewer than two modes, more than the lattice has, or a spacing that is not positive.
    """
    if dimension < 1 or not 2 <= modes <= min(LEVELS**dimension, CANDIDATES) or not 0 < spacing < math.inf:
        raise DataError(
            f"no lattice has {modes} modes in {dimension} dimensions at spacing {spacing}: at least 2 and at most "
            f"{LEVELS} ** dimension modes, and a positive spacing, are needed."
        )
    candidates_CD = _candidates(dimension)
    chosen, distance_C = [0], torch.cdist(candidates_CD, candidates_CD[:1])[:, 0]
    while len(chosen) < modes:
        chosen.append(int(distance_C.argmax()))
        distance_C = distance_C.minimum(torch.cdist(candidates_CD, candidates_CD[chosen[-1:]])[:, 0])
    return (candidates_CD[chosen] * spacing * math.sqrt(2 / dimension)).float()


def _candidates(dimension: int) -> Tensor:
    """float64 (C, D), lattice points of spacing 1, the origin first."""
    line = torch.arange(LEVELS, dtype=torch.float64) - LEVELS // 2
    if LEVELS**dimension <= CANDIDATES:
        points_CD = torch.cartesian_prod(*[line] * dimension).reshape(-1, dimension)
    else:
        drawn = torch.randint(LEVELS, (CANDIDATES, dimension), generator=generator(0, dimension, LATTICE))
        points_CD = line[drawn]
    return torch.cat([torch.zeros(1, dimension, dtype=torch.float64), points_CD])


@DATASETS.add(label="Mixture on a lattice")
def lattice_mixture(
    dimension: Annotated[int, Limits(1, 4096)] = 2,
    modes: Annotated[int, Limits(2, 20_000)] = 25,
    spacing: Positive = 2.0,
    standard_deviation: Positive = 0.02,
    size: Annotated[int, Limits(1, 100_000_000)] = 50_000,
    seed: Seed = 0,
    split: str = "train",
) -> GaussianMixture:
    """An equal-weight mixture of narrow modes far from each other on a lattice, in any dimension.

    Args:
        dimension: D of a point.
        modes: number of modes; 25 in the plane are the whole lattice.
        spacing: of the lattice in the plane; in D dimensions times sqrt(2 / D).
        standard_deviation: of each mode.
        size: number of points.
        seed: the same points for the same seed, size and split; the splits are independent, the modes always the same.
        split: `train` or `test`.
    Raises:
        DataError: a lattice, split, size or deviation that cannot be.
    Source: of the protocol in the plane, Aithal et al., NeurIPS 2024, arXiv:2406.09358.
    """
    if size < 1 or not 0 < standard_deviation < math.inf:
        raise DataError(f"a mixture needs a positive size and standard_deviation, not {size} and {standard_deviation}.")
    key, centres_KD = SPLITS.index(check_split(split)), lattice_centres(dimension, modes, spacing)
    labels = torch.randint(modes, (size,), generator=generator(seed, key, MODES))
    noise_ND = torch.randn(size, dimension, generator=generator(seed, key, NOISE))
    points_ND = centres_KD[labels] + standard_deviation * noise_ND
    return GaussianMixture(points_ND, labels, centres_KD, standard_deviation, split, f"lattice_mixture_d{dimension}")
