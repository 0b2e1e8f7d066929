"""Does a map show where a sample is wrong? For samples whose wrong pixels are known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genuq.analysis.inputs import Array
from genuq.analysis.intervals import Interval, Undefined, bootstrap_interval
from genuq.analysis.ranks import Groups
from genuq.errors import DataError
from genuq.randomness import generator

TOP = 0.05  # share of the pixels that a viewer is sent to


@dataclass(frozen=True)
class JudgedMap:
    """How well a map finds the wrong pixels of the samples that have any, each sample counting once.

    Attributes:
        pixels: AUROC within a sample: of a wrong and a right pixel, how often the wrong one has the larger value.
        parts: the same of the parts of a sample (quadrants, panels) by their mean value; Undefined where a sample has
            none.
        top_share: share of the 5 % of pixels with the largest values that are wrong.
        faulty: samples with wrong pixels.
    """

    pixels: Interval | Undefined
    parts: Interval | Undefined
    top_share: Interval | Undefined
    faulty: int


def judge_map(
    map_NHW: Tensor,
    mask_NHW: Tensor,
    parts_NP: Tensor | None = None,
    part_HW: Tensor | None = None,
    *,
    bootstrap: int = 1000,
    seed: int = 0,
) -> JudgedMap:
    """Judge a map by the pixels that are wrong; intervals are over samples.

    Samples without a wrong pixel, or without a right one, say nothing. Ties count half: a constant map has AUROC 1/2,
    and of its pixels those that are wrong on average lie in the top.

    Args:
        map_NHW: higher where the sample is less to be trusted.
        mask_NHW: bool, the wrong pixels.
        parts_NP: bool, the wrong parts.
        part_HW: which part each pixel belongs to.
        bootstrap, seed: replicates and their seed.

    Raises:
        DataError: map and mask of other shapes, or NaN in the map.
    """
    if map_NHW.shape != mask_NHW.shape:
        raise DataError(f"a map of {tuple(map_NHW.shape)} cannot be judged by masks of {tuple(mask_NHW.shape)}.")
    values_NX = map_NHW.detach().cpu().double().flatten(1).numpy()
    wrong_NX = mask_NHW.cpu().bool().flatten(1).numpy()
    if np.isnan(values_NX).any():
        raise DataError("a map is NaN in some pixels. Mend the score, or leave its map out.")
    rows = np.flatnonzero(wrong_NX.any(1) & ~wrong_NX.all(1))
    aurocs = [_auroc(values_NX[row], wrong_NX[row]) for row in rows]
    tops = [_share_of_top(values_NX[row], wrong_NX[row]) for row in rows]
    of_parts: list[float] = []
    if parts_NP is not None and part_HW is not None and parts_NP.shape[1]:
        means_NP, bad_NP = _means(values_NX, part_HW, parts_NP.shape[1]), parts_NP.cpu().bool().numpy()
        of_parts = [_auroc(means_NP[row], bad_NP[row]) for row in rows if bad_NP[row].any() and not bad_NP[row].all()]
    pixels, parts, top = (_mean(values, bootstrap, seed) for values in (aurocs, of_parts, tops))
    return JudgedMap(pixels, parts, top, faulty=len(rows))


def edge_map(images_NCHW: Tensor) -> Tensor:
    """Size of the gradient of the grey image, (N, H, W): the map of someone who looks at contours alone."""
    grey_NHW = images_NCHW.detach().cpu().double().mean(1)
    down, right = torch.gradient(grey_NHW, dim=(1, 2))
    return (down.square() + right.square()).sqrt()


def random_map(shape: Sequence[int], seed: int) -> Tensor:
    """Uniform numbers (N, H, W): a map that knows nothing."""
    return torch.rand(tuple(shape), generator=generator(seed, 0, "random map"), dtype=torch.float64)


def judge_maps(
    maps: Mapping[str, Tensor],
    mask_NHW: Tensor,
    parts_NP: Tensor | None = None,
    part_HW: Tensor | None = None,
    *,
    bootstrap: int = 1000,
    seed: int = 0,
) -> dict[str, JudgedMap]:
    """`judge_map` of several maps; their intervals are of the same replicates."""
    options = {"bootstrap": bootstrap, "seed": seed}
    return {name: judge_map(values, mask_NHW, parts_NP, part_HW, **options) for name, values in maps.items()}


def _auroc(values_X: Array, wrong_X: Array) -> float:
    ranks_X = Groups(values_X).midranks(np.ones((1, len(values_X))))[0]
    many = int(wrong_X.sum())
    return float((ranks_X[wrong_X].sum() - many * (many + 1) / 2) / (many * (len(values_X) - many)))


def _share_of_top(values_X: Array, wrong_X: Array) -> float:
    """Of pixels that tie at the border of the top, as many as have room, each as wrong as all of them on average."""
    room = math.ceil(TOP * len(values_X))
    border = np.partition(values_X, -room)[-room]
    above, at = values_X > border, values_X == border
    return float((wrong_X[above].sum() + (room - above.sum()) * wrong_X[at].mean()) / room)


def _means(values_NX: Array, part_HW: Tensor, parts: int) -> Array:
    """(N, P) mean value of each part."""
    belongs_XP = (part_HW.flatten()[:, None] == torch.arange(parts)).double().numpy()
    return values_NX @ (belongs_XP / belongs_XP.sum(0))


def _mean(values: list[float], bootstrap: int, seed: int) -> Interval | Undefined:
    if not values:
        return Undefined("no sample has both wrong and right ones")
    values_N = np.array(values)
    return bootstrap_interval(lambda w_BN: w_BN @ values_N / w_BN.sum(1), len(values), bootstrap, seed)
