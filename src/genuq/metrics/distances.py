"""Squared Euclidean distances in tiles, so that memory stays within a budget at any number of samples.

Features stay in their own precision; only the rows of the tile at hand are float64. Two conventions, shared by every
neighbourhood metric, keep exact ties exact in floating point:
    - points closer than float32 can resolve are the same point, at distance 0;
    - balls are open, so a distance equal to the radius (up to rounding) counts as outside, as in prdc.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

MEMORY_BYTES = 256 * 2**20  # of working memory, besides the features themselves
SAME_POINT = 1e-13  # of the squared norms: rounding of two float32 vectors differs by about 4e-15 of them
OPEN_BALL = 1.0 - 1e-10  # of the squared radius

Pairs: TypeAlias = tuple[Tensor, Tensor]  # the row and the column of each
Measured: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray]  # and its squared distance


def tile_side(dimension: int, memory_bytes: int = MEMORY_BYTES) -> int:
    """Rows b of a square tile, such that three b x b tiles and two b x D blocks of float64 fit the budget."""
    budget = max(memory_bytes, 1) / 8
    return max(16, int((math.sqrt(dimension**2 + 3 * budget) - dimension) / 3))


def row_slices(count: int, side: int) -> list[slice]:
    return [slice(start, min(start + side, count)) for start in range(0, count, side)]


def squared_distances(left_ND: Tensor, right_MD: Tensor) -> Tensor:
    """(N, M) squared Euclidean distances in float64, exact zeros for coinciding points."""
    left_ND, right_MD = left_ND.to(torch.float64), right_MD.to(torch.float64)
    left_N1, right_M = left_ND.square().sum(1, keepdim=True), right_MD.square().sum(1)
    tile_NM = torch.addmm(right_M.expand(len(left_ND), -1), left_ND, right_MD.T, alpha=-2.0).add_(left_N1)
    return tile_NM.masked_fill_(tile_NM <= 2 * SAME_POINT * left_N1, 0.0)


class Tile:
    """Squared distances in float64 of two blocks of samples.

    Args:
        rows, columns: the blocks.
        squared: (rows, columns).
    """

    def __init__(self, rows: slice, columns: slice, squared: Tensor) -> None:
        self.rows, self.columns, self.squared = rows, columns, squared

    def within_rows(self, limits: Tensor) -> Pairs:
        """Places (row, column) in the tile of the pairs with a squared distance below their row's limit."""
        return _pairs(self.squared < limits[:, None])

    def within_columns(self, limits: Tensor) -> Pairs:
        """The same with a limit for each column."""
        return _pairs(self.squared < limits[None])

    def measured_within_columns(self, limits: Tensor) -> Measured:
        """The pairs of `within_columns` with their squared distances."""
        row_P, column_P = self.within_columns(limits)
        return row_P.numpy(), column_P.numpy(), self.squared[row_P, column_P].numpy()

    def greatest_ratios(self, numerators: Tensor, known: Tensor) -> Tensor:
        """(columns,) the greatest of `known` and of each row's number over its squared distance; infinite at 0."""
        ratio = torch.where(self.squared > 0, numerators[:, None] / self.squared, math.inf)
        return torch.maximum(known, ratio.amax(0))


def tiles(left_ND: Tensor, right_MD: Tensor, memory_bytes: int = MEMORY_BYTES) -> Iterator[Tile]:
    """All pairs of two sets, each once."""
    side = tile_side(left_ND.shape[1], memory_bytes)
    for rows in row_slices(len(left_ND), side):
        left = left_ND[rows].to(torch.float64)
        for columns in row_slices(len(right_MD), side):
            yield Tile(rows, columns, squared_distances(left, right_MD[columns]))


def _pairs(mask: Tensor) -> Pairs:
    """Rows and columns of the true entries."""
    if mask.device.type == "cpu":
        flat_P = torch.from_numpy(np.flatnonzero(mask.numpy()))  # several times as fast as torch's
    else:
        flat_P = mask.flatten().nonzero().squeeze(1)
    return flat_P // mask.shape[1], flat_P % mask.shape[1]


def nearest_squared(features_ND: Tensor, k: int, memory_bytes: int = MEMORY_BYTES) -> Tensor:
    """(N, k) ascending squared distances to the k nearest others. Each pair is measured once and used for both."""
    nearest_Nk = torch.full((len(features_ND), k), math.inf, dtype=torch.float64, device=features_ND.device)
    blocks = row_slices(len(features_ND), tile_side(features_ND.shape[1], memory_bytes))
    for index, rows in enumerate(blocks):
        left = features_ND[rows].to(torch.float64)
        for columns in blocks[index:]:
            tile = squared_distances(left, features_ND[columns])
            if columns == rows:
                tile.fill_diagonal_(math.inf)  # no sample is its own neighbour
            else:
                nearest_Nk[columns] = _keep_smallest(nearest_Nk[columns], tile.T.contiguous())
            nearest_Nk[rows] = _keep_smallest(nearest_Nk[rows], tile)
    return nearest_Nk


def _keep_smallest(nearest_Nk: Tensor, candidates_NM: Tensor) -> Tensor:
    k = nearest_Nk.shape[1]
    smallest = candidates_NM.topk(min(k, candidates_NM.shape[1]), dim=1, largest=False).values
    return torch.cat([nearest_Nk, smallest], dim=1).topk(k, dim=1, largest=False).values


def open_ball(squared_radii: Tensor) -> Tensor:
    """Squared radii such that `squared distance < radius` is false for a tie within rounding."""
    return squared_radii * OPEN_BALL
