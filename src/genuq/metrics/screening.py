"""Squared distances in float32 with a bound on their error, measured anew in float64 where the bound leaves a doubt.

A matrix product in float32 takes half the time of one in float64. Of D products of components its rounding is at most
(D + a few) 2^-24 (|x|^2 + |y|^2), in whatever order they are added (Higham, Accuracy and Stability of Numerical
Algorithms, 2002, section 3.1), which decides nearly all comparisons; the pairs that it leaves open are few.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from genuq.metrics.distances import (
    MEMORY_BYTES,
    SAME_POINT,
    Measured,
    Pairs,
    Tile,
    row_slices,
    squared_distances,
    tile_side,
    tiles,
)

UNIT = 2.0**-24  # half the spacing of float32 at 1
ROUNDINGS = 32  # besides those of the products: of centring, scaling, norms and their sums
UNDERFLOW = 1e-30  # of the largest squared norm: products below it may have lost all digits
LEAST_DIMENSION = 64  # below it the product is no large part of the time
MOST_DOUBTFUL = 1 / 64  # of a tile's pairs; above it the whole tile is measured in float64
SLACK = 1e-5  # relative, of a few roundings in float32
CHUNK_NUMBERS = 2**17  # at a time in float64: 1 MiB stays in the cache


def can_screen(features_ND: Tensor) -> bool:
    """Whether this way is the faster one. Products are NumPy's, which no setting of torch's rounds further."""
    return features_ND.device.type == "cpu" and features_ND.shape[1] >= LEAST_DIMENSION


class Frame(NamedTuple):
    """What is subtracted from features, and then divided out, before they are rounded to float32.

    Attributes:
        centre_D: values that float32 has, so that its difference to a float32 is rounded once.
        scale: a power of two, so that dividing rounds nothing.
    """

    centre_D: Tensor
    scale: float

    @classmethod
    def of(cls, *sets: Tensor) -> Frame:
        """Centred on the first set, with the longest row of all sets of a length in (1/2, 1]."""
        first = sets[0]
        mean_D = torch.stack([first[rows].double().sum(0) for rows in _chunks(first)]).sum(0) / len(first)
        centre_D = mean_D.float()
        if not centre_D.isfinite().all():
            centre_D.zero_()  # float64 features beyond float32
        norms = [(part[rows].double() - centre_D).square_().sum(1).max() for part in sets for rows in _chunks(part)]
        longest = float(torch.stack(norms).max().sqrt())
        return cls(centre_D, 2.0 ** math.ceil(math.log2(longest)) if longest else 1.0)


class Rounded:
    """A set of features in a frame, in float32; made block by block.

    Attributes:
        norms_N: squared, in float64.
        error_N: a squared distance is off by at most the sum of its two samples'.
    """

    def __init__(self, features_ND: Tensor, frame: Frame) -> None:
        self.features_ND, self.frame = features_ND, frame
        norms = [torch.from_numpy(self.block(rows)).double().square_().sum(1) for rows in _chunks(features_ND)]
        self.norms_N = torch.cat(norms).numpy()
        self.error_N = 1.01 * (features_ND.shape[1] + ROUNDINGS) * UNIT * self.norms_N + UNDERFLOW

    def block(self, rows: slice) -> np.ndarray:
        """(B, D) float32."""
        return ((self.features_ND[rows] - self.frame.centre_D) / self.frame.scale).float().numpy()


class ScreenedTile:
    """Squared distances of two blocks of samples, in units of the frame's squared scale.

    Args:
        left, right: the sets.
        rows, columns: the blocks.
        squared: (rows, columns) float32.
    """

    def __init__(self, left: Rounded, right: Rounded, rows: slice, columns: slice, squared: np.ndarray) -> None:
        self.left, self.right, self.rows, self.columns, self.squared = left, right, rows, columns, squared
        self.unit = left.frame.scale**2
        self.left_error, self.right_error = left.error_N[rows], right.error_N[columns]

    def within_rows(self, limits: Tensor) -> Pairs:
        """Places (row, column) in the tile of the pairs with a squared distance below their row's limit."""
        limits_B = limits.numpy() / self.unit
        reach_B = limits_B + self.left_error + self.right_error.max()
        found = np.divmod(np.flatnonzero(self.squared < _above(reach_B)[:, None]), self.squared.shape[1])
        return self._settled(found, limits_B[found[0]], limits.numpy()[found[0]])

    def within_columns(self, limits: Tensor) -> Pairs:
        """The same with a limit for each column."""
        limits_B = limits.numpy() / self.unit
        reach_B = limits_B + self.right_error + self.left_error.max()
        found = np.divmod(np.flatnonzero(self.squared < _above(reach_B)[None]), self.squared.shape[1])
        return self._settled(found, limits_B[found[1]], limits.numpy()[found[1]])

    def measured_within_columns(self, limits: Tensor) -> Measured:
        """The pairs of `within_columns` with their squared distances in float64."""
        limits_B = limits.numpy()
        reach_B = limits_B / self.unit + self.right_error + self.left_error.max()
        row_P, column_P = np.divmod(np.flatnonzero(self.squared < _above(reach_B)[None]), self.squared.shape[1])
        squared_P = self._exact(row_P, column_P)
        within_P = squared_P < limits_B[column_P]
        return row_P[within_P], column_P[within_P], squared_P[within_P]

    def greatest_ratios(self, numerators: Tensor, known: Tensor) -> Tensor:
        """(columns,) the greatest of `known` and of each row's number over its squared distance; infinite at 0.

        In float32 are the inverse ratios, of which the least counts: `low` is not above them, `low + spread` not below.
        """
        single, known_B = np.float32, known.numpy().copy()
        numerators_B = np.maximum(numerators.numpy() / self.unit, np.finfo(single).tiny)
        error_B = self.left_error + self.right_error.max()
        with np.errstate(over="ignore", divide="ignore"):
            low = (self.squared - error_B[:, None].astype(single)) / numerators_B[:, None].astype(single)
            spread_B = (2.001 * error_B / numerators_B).astype(single)
            reached_B = np.minimum(1 / known_B, (low + spread_B[:, None]).min(0) * (1 + SLACK)) + np.finfo(single).tiny
        row_P, column_P = np.divmod(np.flatnonzero(low * single(1 - SLACK) <= _above(reached_B)[None]), low.shape[1])
        squared_P = self._exact(row_P, column_P)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio_P = np.where(squared_P > 0, numerators.numpy()[row_P] / squared_P, np.inf)
        np.maximum.at(known_B, column_P, ratio_P)
        return torch.from_numpy(known_B)

    def _settled(self, found: tuple[np.ndarray, np.ndarray], limits_P: np.ndarray, exact_limits_P: np.ndarray) -> Pairs:
        row_P, column_P = found
        squared_P = self.squared[row_P, column_P]
        error_P = self.left_error[row_P] + self.right_error[column_P]
        within_P = squared_P + error_P < limits_P
        doubtful = np.flatnonzero(~within_P & (squared_P - error_P < limits_P))
        within_P[doubtful] = self._exact(row_P[doubtful], column_P[doubtful]) < exact_limits_P[doubtful]
        return torch.from_numpy(row_P[within_P]), torch.from_numpy(column_P[within_P])

    def _exact(self, row_P: np.ndarray, column_P: np.ndarray) -> np.ndarray:
        """(P,) squared distances in float64 and in the features' own units."""
        left, right = self.left.features_ND[self.rows], self.right.features_ND[self.columns]
        if len(row_P) > MOST_DOUBTFUL * self.squared.size:
            return squared_distances(left, right).numpy()[row_P, column_P]
        return pair_squared(left, row_P, right, column_P)


def pair_tiles(left_ND: Tensor, right_MD: Tensor, memory_bytes: int = MEMORY_BYTES) -> Iterator[Tile | ScreenedTile]:
    """All pairs of two sets, each once, in the faster way."""
    screened = can_screen(left_ND) and can_screen(right_MD)
    return (screened_tiles if screened else tiles)(left_ND, right_MD, memory_bytes)


def screened_tiles(left_ND: Tensor, right_MD: Tensor, memory_bytes: int = MEMORY_BYTES) -> Iterator[ScreenedTile]:
    """All pairs of two sets, each once."""
    frame = Frame.of(right_MD, left_ND)
    left, right = Rounded(left_ND, frame), Rounded(right_MD, frame)
    side = tile_side(left_ND.shape[1], memory_bytes)
    for rows in row_slices(len(left_ND), side):
        block = left.block(rows)
        for columns in row_slices(len(right_MD), side):
            yield ScreenedTile(left, right, rows, columns, block_squared(left, block, rows, right, columns))


def pair_squared(left_ND: Tensor, left_P: np.ndarray, right_MD: Tensor, right_P: np.ndarray) -> np.ndarray:
    """(P,) squared distances of single pairs in float64, exact zeros for coinciding points."""
    rows = max(1, CHUNK_NUMBERS // left_ND.shape[1])
    left_rows, right_rows = _Rows(left_ND, rows), _Rows(right_MD, rows)
    found_P = np.empty(len(left_P))
    for part in row_slices(len(left_P), rows):
        left, right = left_rows(left_P[part]), right_rows(right_P[part])
        norms = torch.linalg.vecdot(left, left)
        squared = torch.linalg.vecdot(left.sub_(right), left)
        found_P[part] = squared.masked_fill_(squared <= 2 * SAME_POINT * norms, 0.0).numpy()
    return found_P


class _Rows:
    """Rows of a set in float64, put where those before them were: new memory would cost more than what is put there."""

    def __init__(self, features_ND: Tensor, rows: int) -> None:
        self.features_ND = features_ND
        self.taken = features_ND.new_empty(rows, features_ND.shape[1])
        self.precise = torch.empty(self.taken.shape, dtype=torch.float64)

    def __call__(self, index_P: np.ndarray) -> Tensor:
        count = len(index_P)
        torch.index_select(self.features_ND, 0, torch.from_numpy(index_P), out=self.taken[:count])
        return self.precise[:count].copy_(self.taken[:count])


def block_squared(left: Rounded, block: np.ndarray, rows: slice, right: Rounded, columns: slice) -> np.ndarray:
    """(rows, columns) squared distances in the frame's units."""
    tile: np.ndarray = block @ right.block(columns).T
    tile *= -2
    tile += right.norms_N[columns].astype(np.float32)
    tile += left.norms_N[rows].astype(np.float32)[:, None]
    return tile


def _above(limits: np.ndarray) -> np.ndarray:
    """In float32, and not below them: what a float32 is compared with."""
    return np.nextafter(limits.astype(np.float32), np.float32(np.inf))


def _chunks(features_ND: Tensor) -> list[slice]:
    return row_slices(len(features_ND), max(1, CHUNK_NUMBERS // features_ND.shape[1]))
