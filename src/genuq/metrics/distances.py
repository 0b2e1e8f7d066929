"""Squared Euclidean distances in tiles, so that memory stays within a budget at any number of samples.

Features stay in their own precision; only the rows of the tile at hand are float64. Two conventions, shared by every
neighbourhood metric, keep exact ties exact in floating point:
    - points closer than float32 can resolve are the same point, at distance 0;
    - balls are open, so a distance equal to the radius (up to rounding) counts as outside, as in prdc.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from genuq.metrics.checks import Features, feature_matrix, require_neighbours

MEMORY_BYTES = 256 * 2**20  # of working memory, besides the features themselves
SAME_POINT = 1e-13  # of the squared norms: rounding of two float32 vectors differs by about 4e-15 of them
OPEN_BALL = 1.0 - 1e-10  # of the squared radius


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


def tiles(left_ND: Tensor, right_MD: Tensor, memory_bytes: int = MEMORY_BYTES) -> Iterator[tuple[slice, slice, Tensor]]:
    """Yield (rows of left, rows of right, their squared distances) until every pair has been seen once."""
    side = tile_side(left_ND.shape[1], memory_bytes)
    for rows in row_slices(len(left_ND), side):
        left = left_ND[rows].to(torch.float64)
        for columns in row_slices(len(right_MD), side):
            yield rows, columns, squared_distances(left, right_MD[columns])


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


def knn_radii(features: Features, k: int, memory_bytes: int = MEMORY_BYTES) -> Tensor:
    """Distance of every sample to its k-th nearest other sample, (N,) float64.

    Args:
        features: (N, D) with N > k.
        k: which neighbour; the sample itself does not count.
        memory_bytes: working memory besides the features.
    Raises:
        DataError: features that are not a finite matrix, or fewer than k + 1 of them.
        ConfigurationError: k < 1.
    """
    features_ND = feature_matrix(features, "features")
    require_neighbours(features_ND, k, "features")
    return nearest_squared(features_ND, k, memory_bytes)[:, -1].sqrt()


def open_ball(squared_radii: Tensor) -> Tensor:
    """Squared radii such that `squared distance < radius` is false for a tie within rounding."""
    return squared_radii * OPEN_BALL
