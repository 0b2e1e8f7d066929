"""Nearest neighbours, found in float32 and settled in float64: exact at half the price, and each pair measured once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from genuq.metrics.distances import (
    MEMORY_BYTES,
    Measured,
    Tile,
    nearest_squared,
    open_ball,
    row_slices,
    squared_distances,
    tile_side,
)
from genuq.metrics.screening import (
    Frame,
    Rounded,
    ScreenedTile,
    block_squared,
    can_screen,
    pair_squared,
    pair_tiles,
)

SPARE = 12  # neighbours kept beyond the last, for those that float32 cannot tell from it
SPARE_SHARE = 8  # one more for so many neighbours
WORTH = 32  # as many samples for each neighbour, and measuring the neighbours anew is a small part of the time


def kth_nearest(features_ND: Tensor, k: int, memory_bytes: int = MEMORY_BYTES) -> Tensor:
    """(N,) squared distance to the k-th nearest other sample, in the faster way."""
    if can_screen(features_ND):
        return kth_squared(features_ND, k, memory_bytes)
    return nearest_squared(features_ND, k, memory_bytes)[:, -1]


def nearest_others(features_ND: Tensor, count: int, memory_bytes: int = MEMORY_BYTES) -> tuple[Tensor, Tensor]:
    """Each sample's nearest others, the nearest first, in the faster way.

    Args:
        count: J of them, fewer than there are samples.
    Returns:
        squared_NJ: their squared distances, float64.
        index_NJ: their rows, int32.
    """
    if can_screen(features_ND) and len(features_ND) >= WORTH * (count + _spare(count)):
        return screened_others(features_ND, count, memory_bytes)
    bands = row_slices(len(features_ND), max(1, memory_bytes // (32 * len(features_ND))))
    chosen = [np.arange(rows.start, rows.stop) for rows in bands]
    parts = [_nearest_of_rows(features_ND, rows, count, memory_bytes) for rows in chosen]
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


@dataclass
class Fellows:
    """Each sample's nearest others of its own set, and the reals that are nearer than the last of them.

    Attributes:
        squared_NJ, index_NJ: as `nearest_others` has them.
        seen: by the first sample of a band, pairs in no order: places in the band, int32; reals, int32; squared
            distances, float64.
    """

    squared_NJ: Tensor
    index_NJ: Tensor
    seen: dict[int, list[Measured]] = field(default_factory=dict)

    def bands(self) -> Iterator[tuple[int, Measured]]:
        """The first sample of each band, in their order, and its pairs; one band at a time is put together."""
        for start in sorted(self.seen):
            place_P, real_P, squared_P = (np.concatenate(parts) for parts in zip(*self.seen[start], strict=True))
            yield start, (place_P, real_P, squared_P)


class FellowSearch:
    """Finds `Fellows` while pairs of reals (rows) and samples (columns) go by, tile by tile.

    Args:
        count: J, fewer than there are samples.
    """

    def __init__(self, features_ND: Tensor, count: int, memory_bytes: int = MEMORY_BYTES) -> None:
        self.found = Fellows(*nearest_others(features_ND, count, memory_bytes))
        self._reach_N = open_ball(self.found.squared_NJ[:, -1])

    def see(self, tile: Tile | ScreenedTile, index: np.ndarray) -> None:
        """Pairs of a tile, whose rows are the reals of these numbers."""
        row_P, column_P, squared_P = tile.measured_within_columns(self._reach_N[tile.columns])
        pairs = column_P.astype(np.int32), index[row_P].astype(np.int32), squared_P
        self.found.seen.setdefault(tile.columns.start, []).append(pairs)


def fellows_of(real_ND: Tensor, fake_ND: Tensor, count: int, memory_bytes: int = MEMORY_BYTES) -> Fellows:
    """Of the fake samples, with all pairs measured for this alone; `neighbourhood` finds them on its way."""
    search = FellowSearch(fake_ND, count, memory_bytes)
    for tile in pair_tiles(real_ND, fake_ND, memory_bytes):
        search.see(tile, np.arange(tile.rows.start, tile.rows.stop))
    return search.found


def kth_squared(features_ND: Tensor, k: int, memory_bytes: int = MEMORY_BYTES) -> Tensor:
    """(N,) squared distance to the k-th nearest other sample, by way of float32."""
    rounded, nearest = _screened(features_ND, k, memory_bytes)
    return torch.from_numpy(_settle_kth(rounded, nearest, k, memory_bytes))


def screened_others(features_ND: Tensor, count: int, memory_bytes: int = MEMORY_BYTES) -> tuple[Tensor, Tensor]:
    """`nearest_others` by way of float32."""
    rounded, nearest = _screened(features_ND, count, memory_bytes)
    squared_NJ, index_NJ = np.empty((len(features_ND), count)), np.empty((len(features_ND), count), dtype=np.int32)
    for rows in row_slices(len(features_ND), max(1, memory_bytes // (32 * nearest.index_Nm.shape[1]))):
        index_Bm = nearest.index_Nm[rows]
        row_P = np.repeat(np.arange(rows.start, rows.stop), index_Bm.shape[1])
        exact_Bm = pair_squared(features_ND, row_P, features_ND, index_Bm.ravel()).reshape(index_Bm.shape)
        order_BJ = np.argsort(exact_Bm, axis=1, kind="stable")[:, :count]
        squared_NJ[rows] = np.take_along_axis(exact_Bm, order_BJ, axis=1)
        index_NJ[rows] = np.take_along_axis(index_Bm, order_BJ, axis=1)
    farthest_N = squared_NJ[:, -1] / rounded.frame.scale**2
    open_rows = _open_rows(rounded, nearest, farthest_N)
    for part in row_slices(len(open_rows), max(1, memory_bytes // (32 * len(features_ND)))):
        squared, index = _nearest_of_rows(features_ND, open_rows[part], count, memory_bytes)
        squared_NJ[open_rows[part]], index_NJ[open_rows[part]] = squared.numpy(), index.numpy()
    return torch.from_numpy(squared_NJ), torch.from_numpy(index_NJ)


def _spare(count: int) -> int:
    return SPARE + count // SPARE_SHARE


def _screened(features_ND: Tensor, count: int, memory_bytes: int) -> tuple[Rounded, Nearest]:
    """The samples that float32 finds nearest, and some more. Each pair is measured once and used for both."""
    rounded = Rounded(features_ND, Frame.of(features_ND))
    nearest = Nearest(len(features_ND), min(count + _spare(count), len(features_ND) - 1))
    blocks = row_slices(len(features_ND), tile_side(features_ND.shape[1], memory_bytes))
    for index, rows in enumerate(blocks):
        block = rounded.block(rows)
        for columns in blocks[index:]:
            tile = block_squared(rounded, block, rows, rounded, columns)
            if columns == rows:
                np.fill_diagonal(tile, np.inf)  # no sample is its own neighbour
            else:
                nearest.add(columns, rows, tile, by_column=True)
            nearest.add(rows, columns, tile)
    return rounded, nearest


def _nearest_of_rows(features_ND: Tensor, rows: np.ndarray, count: int, memory_bytes: int) -> tuple[Tensor, Tensor]:
    """Nearest others of these rows, from all distances in float64."""
    left = features_ND[torch.from_numpy(rows)].to(torch.float64)
    columns = row_slices(len(features_ND), max(1, memory_bytes // (8 * features_ND.shape[1])))
    band = torch.cat([squared_distances(left, features_ND[part]) for part in columns], dim=1)
    band[torch.arange(len(rows)), torch.from_numpy(rows)] = math.inf  # no sample is its own neighbour
    found = band.topk(count, dim=1, largest=False)
    return found.values, found.indices.to(torch.int32)


class Nearest:
    """The samples that float32 finds nearest to each, as far as they were seen."""

    def __init__(self, count: int, kept: int) -> None:
        self.squared_Nm = np.full((count, kept), np.inf, dtype=np.float32)
        self.index_Nm = np.full((count, kept), -1, dtype=np.int32)

    def add(self, owners: slice, others: slice, tile: np.ndarray, by_column: bool = False) -> None:
        """See the pairs of a tile, whose rows (or columns) are the owners."""
        worst_B = self.squared_Nm[owners, -1]
        if np.isinf(worst_B).any():
            return self._add_first(owners, others, tile.T if by_column else tile)
        near = tile < (worst_B[None] if by_column else worst_B[:, None])
        row_P, column_P = np.divmod(np.flatnonzero(near), near.shape[1])
        squared_P = tile[row_P, column_P]
        owner_P, other_P = (column_P, row_P) if by_column else (row_P, column_P)
        if by_column:
            order_P = np.argsort(owner_P, kind="stable")
            owner_P, other_P, squared_P = owner_P[order_P], other_P[order_P], squared_P[order_P]
        self._merge(owners.start + owner_P, others.start + other_P, squared_P)

    def _add_first(self, owners: slice, others: slice, tile: np.ndarray) -> None:
        kept = min(self.squared_Nm.shape[1], tile.shape[1])
        found = torch.from_numpy(np.ascontiguousarray(tile)).topk(kept, dim=1, largest=False)
        owner_B = np.arange(owners.start, owners.stop)
        self._keep(owner_B, found.values.numpy(), found.indices.numpy().astype(np.int32) + others.start)

    def _merge(self, owner_P: np.ndarray, other_P: np.ndarray, squared_P: np.ndarray) -> None:
        """Pairs in the order of their owners."""
        if not len(owner_P):
            return
        owner_B, start_B, count_B = np.unique(owner_P, return_index=True, return_counts=True)
        row_P, place_P = np.repeat(np.arange(len(owner_B)), count_B), np.arange(len(owner_P)) - start_B.repeat(count_B)
        squared_BC = np.full((len(owner_B), count_B.max()), np.inf, dtype=np.float32)
        index_BC = np.full(squared_BC.shape, -1, dtype=np.int32)
        squared_BC[row_P, place_P], index_BC[row_P, place_P] = squared_P, other_P
        self._keep(owner_B, squared_BC, index_BC)

    def _keep(self, owner_B: np.ndarray, squared_BC: np.ndarray, index_BC: np.ndarray) -> None:
        squared = np.concatenate([self.squared_Nm[owner_B], squared_BC], axis=1)
        index = np.concatenate([self.index_Nm[owner_B], index_BC], axis=1)
        least = torch.from_numpy(squared).topk(self.squared_Nm.shape[1], dim=1, largest=False)
        self.squared_Nm[owner_B] = least.values.numpy()
        self.index_Nm[owner_B] = np.take_along_axis(index, least.indices.numpy(), axis=1)


def _settle_kth(rounded: Rounded, nearest: Nearest, k: int, memory_bytes: int) -> np.ndarray:
    """(N,) float64: the k-th among those of the kept that may be it; all pairs of rows where others may be."""
    features_ND, squared_Nm, index_Nm = rounded.features_ND, nearest.squared_Nm.astype(np.float64), nearest.index_Nm
    error_Nm = rounded.error_N[:, None] + rounded.error_N[index_Nm]
    most_N = np.partition(squared_Nm + error_Nm, k - 1, axis=1)[:, k - 1]
    least_N = np.partition(squared_Nm - error_Nm, k - 1, axis=1)[:, k - 1]
    below_Nm = squared_Nm + error_Nm < least_N[:, None]
    doubtful_Nm = ~below_Nm & (squared_Nm - error_Nm <= most_N[:, None])
    exact_Nm = np.full(squared_Nm.shape, np.inf)
    row_P, place_P = np.nonzero(doubtful_Nm)
    exact_Nm[row_P, place_P] = pair_squared(features_ND, row_P, features_ND, index_Nm[row_P, place_P])
    exact_Nm.sort(axis=1)
    found_N = exact_Nm[np.arange(len(exact_Nm)), k - 1 - below_Nm.sum(1)]
    open_rows = _open_rows(rounded, nearest, most_N)
    found_N[open_rows] = _kth_of_rows(features_ND, open_rows, k, memory_bytes)
    return found_N


def _open_rows(rounded: Rounded, nearest: Nearest, reached_N: np.ndarray) -> np.ndarray:
    """Samples of which one that was not kept may be nearer than this squared distance, in the frame's units."""
    if nearest.index_Nm.shape[1] == len(nearest.index_Nm) - 1:
        return np.empty(0, dtype=np.int64)
    others_N = nearest.squared_Nm[:, -1].astype(np.float64) - rounded.error_N - rounded.error_N.max()
    return np.flatnonzero(others_N <= reached_N)


def _kth_of_rows(features_ND: Tensor, rows: np.ndarray, k: int, memory_bytes: int) -> np.ndarray:
    """(rows,) squared distances to the k-th nearest other sample, from all distances in float64."""
    side = tile_side(features_ND.shape[1], memory_bytes)
    found = [np.empty(0)]
    for part in row_slices(len(rows), side):
        chosen = torch.from_numpy(rows[part])
        left, nearest = features_ND[chosen].double(), torch.full((len(chosen), k), torch.inf, dtype=torch.float64)
        for columns in row_slices(len(features_ND), side):
            tile = squared_distances(left, features_ND[columns])
            tile[chosen[:, None] == torch.arange(columns.start, columns.stop)] = torch.inf
            smallest = tile.topk(min(k, tile.shape[1]), dim=1, largest=False).values
            nearest = torch.cat([nearest, smallest], dim=1).topk(k, dim=1, largest=False).values
        found.append(nearest[:, -1].numpy())
    return np.concatenate(found)
