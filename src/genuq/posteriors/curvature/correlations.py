"""The Gram matrix of a convolution's input patches, from correlations of its feature maps: nothing is unfolded.

The entry of A for kernel offsets (u, v) is sum_p x(p + u) x(p + v)^T. It depends on the lag v - u alone, up to a few
rows and columns along the border that the pair does not reach: a 3x3 kernel needs the correlations of 13 lags, and
thin strips to subtract from them.

Along the rows of the maps, the correlation theorem gives the lags together. With a, b the cosine and sine parts of the
Fourier transform, each frequency needs a a'^T + b b'^T and a b'^T - b a'^T, which come from three real products,
(a + b) a'^T, b (b' - a')^T and a (a' + b')^T, of which the last is the first transposed where a row meets itself. For a
3x3 kernel this makes 4 C^2 operations per position in place of 13 C^2, in large products of float64.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

Pair = tuple[int, int]


class Strip(NamedTuple):
    """Positions in some rows and columns, each [start, stop), and the lag to what they are multiplied with."""

    lag: Pair
    rows: Pair
    columns: Pair


# Float64 values in work, for each thread: 4 MiB fit a cache, 128 MiB fill a GPU. With many channels, a share of A.
VALUES_AT_ONCE = {"cpu": 2**19, "cuda": 2**24}


class PatchSums:
    """What the Gram matrix of a convolution's input patches is made of, summed over images: `add_to` makes it.

    Adding images costs products alone; the matrix, with the square of the kernel's entries as many blocks, is written
    once for all of them.

    Args:
        shape: (C, H, W) of the maps, zero outside.
        kernel: rows and columns of a patch, k entries in all.
        before: rows and columns of padding above and left of the maps.
        window: rows and columns of positions, the size of the convolution's output.
        products: precision in which some images' values are multiplied; the sums are float64, on the CPU.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        kernel: Pair,
        before: Pair,
        window: Pair,
        products: torch.dtype = torch.float64,
    ) -> None:
        self.kernel, self.products = kernel, products
        self.border = _Border(shape[1:], before, window)
        self.lags = torch.zeros(kernel[0], 2 * kernel[1] - 1, shape[0], shape[0], dtype=torch.float64)
        strips = (strip for _, _, first, lag in self._pairs() for _, strip in self.border.beyond(first, lag))
        self.strips = {strip: torch.zeros_like(self.lags[0, 0]) for strip in strips}

    def add(self, features_BCHW: Tensor) -> None:
        """Add the images that have these maps, of any precision."""
        self.lags += lag_correlations(features_BCHW, self.kernel, self.products).cpu()
        cuts = _Cuts(features_BCHW, self.kernel[1] - 1, self.products)
        for strip, total_CC in self.strips.items():
            total_CC += cuts.product(strip).cpu()

    def add_to(self, gram: Tensor) -> None:
        """Add the sum over images and positions of patch patch^T, (C k, C k), entries ordered as a filter's."""
        count = math.prod(self.kernel)
        blocks = gram.unflatten(1, (-1, count)).unflatten(0, (-1, count))
        row_kCC = self.lags.new_empty(count, *self.lags.shape[2:])
        for i, j, first, lag in self._pairs():
            # A row of blocks at a time, so that neighbours in the matrix are written together.
            block_CC = row_kCC[j] if i <= j else row_kCC[j].T
            block_CC.copy_(self.lags[lag[0], lag[1] + self.kernel[1] - 1])
            for sign, strip in self.border.beyond(first, lag):
                block_CC.add_(self.strips[strip], alpha=-sign)
            if j == count - 1:
                row_kCC[i] = (row_kCC[i] + row_kCC[i].T) / 2  # symmetric but for rounding
                blocks[:, i] += row_kCC.permute(1, 2, 0)

    def _pairs(self) -> Iterator[tuple[int, int, Pair, Pair]]:
        """Numbers of the two kernel offsets of each block; of the earlier one its place, and the lag to the later."""
        offsets = list(product(range(self.kernel[0]), range(self.kernel[1])))
        for (i, u), (j, v) in product(enumerate(offsets), repeat=2):
            first, last = min(u, v), max(u, v)
            yield i, j, first, (last[0] - first[0], last[1] - first[1])


def lag_correlations(features_BCHW: Tensor, kernel: Pair, products: torch.dtype = torch.float64) -> Tensor:
    """sum over images and positions q of x(q) x(q + lag)^T, (rows, 2 columns - 1, C, C).

    Row lags run from 0, column lags from 1 - columns.

    Args:
        products: precision of all that is computed.
    """
    (rows, columns), (_, channels, height, width) = kernel, features_BCHW.shape
    if kernel == (1, 1):
        return _without_lag(features_BCHW, products)[None, None]
    waves_4FW, weights_L3F = (part.to(products) for part in _waves(width, columns, features_BCHW.device))
    sums = waves_4FW.new_zeros(rows, 2 * columns - 1, channels**2)
    at_once = max(_values_at_once(features_BCHW.device), 32 * channels**2)
    # A few groups of frequencies at most: each reads all maps again.
    frequencies = max(at_once // (3 * rows * channels**2), -(-weights_L3F.shape[2] // 4))
    images = max(1, at_once // (4 * channels * height * width), channels // (2 * height))
    for waves, weights in zip(waves_4FW.split(frequencies, 1), weights_L3F.split(frequencies, 2)):
        found = sums.new_zeros(rows, *weights.shape[1:], channels, channels)
        for part in features_BCHW.split(images):
            _add_products(found, _rows_with_gaps(part, rows - 1, products), waves)
        found[0, 2] = found[0, 0].mT
        sums += weights.flatten(1) @ found.view(rows, -1, channels**2)
    return sums.unflatten(-1, (channels, channels))


def _without_lag(features_BCHW: Tensor, products: torch.dtype) -> Tensor:
    """sum over images and positions of x x^T, (C, C)."""
    total = features_BCHW.new_zeros((features_BCHW.shape[1],) * 2, dtype=products)
    for image in features_BCHW:
        x_CP = image.to(products).flatten(1)
        total.addmm_(x_CP, x_CP.T)
    return total


def _values_at_once(device: torch.device) -> int:
    values = VALUES_AT_ONCE.get(device.type, VALUES_AT_ONCE["cpu"])
    return values * torch.get_num_threads() if device.type == "cpu" else values


def _rows_with_gaps(features_BCHW: Tensor, gap: int, precision: torch.dtype) -> Tensor:
    """All rows of all images one after the other, (C, N, W); `gap` zero rows keep the images apart."""
    images, channels, height, width = features_BCHW.shape
    rows = features_BCHW.new_empty(channels, images, height + gap, width, dtype=precision)
    rows[:, :, :height] = features_BCHW.transpose(0, 1)
    rows[:, :, height:] = 0
    return rows.flatten(1, 2)


def _waves(width: int, columns: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Orthonormal waves over a row of the maps, and the weights that make correlations of the products.

    The period leaves room for the largest lag, and is odd: each frequency but zero has a cosine and a sine.

    Returns:
        waves (4, F, W), of which numbers 2, 3, 0 are multiplied with numbers 0, 1, 2; weights (2 columns - 1, 3, F) of
        the three products.
    """
    period = (width + columns - 1) | 1
    frequencies_F = 2 * math.pi / period * torch.arange(period // 2 + 1, dtype=torch.float64, device=device)
    scale_F = torch.full_like(frequencies_F, (2 / period) ** 0.5)
    scale_F[0] = period**-0.5
    angles_FW = frequencies_F[:, None] * torch.arange(width, device=device)
    cosine, sine = scale_F[:, None] * angles_FW.cos(), scale_F[:, None] * angles_FW.sin()
    turns_LF = torch.arange(1 - columns, columns, device=device)[:, None] * frequencies_F
    weights_L3F = torch.stack([turns_LF.cos() - turns_LF.sin(), turns_LF.cos(), turns_LF.sin()], dim=1)
    return torch.stack([cosine, sine - cosine, sine + cosine, sine]), weights_L3F


def _add_products(products: Tensor, rows_CNW: Tensor, waves_4FW: Tensor) -> None:
    """Add the three products at each row lag and frequency, (rows, 3, F, C, C); lag 0 leaves out the third."""
    channels, positions, width = rows_CNW.shape
    spectrum_4FCN = (waves_4FW.flatten(0, 1) @ rows_CNW.view(-1, width).T).view(4, -1, channels, positions)
    for lag, into in enumerate(products):
        here, there = spectrum_4FCN[..., : positions - lag], spectrum_4FCN[..., lag:].mT
        into[:2].flatten(0, 1).baddbmm_(here[2:].flatten(0, 1), there[:2].flatten(0, 1))
        if lag:
            into[2].baddbmm_(here[0], there[2])


class _Border(NamedTuple):
    """What the correlation over all positions counts and a pair of kernel offsets does not reach: rows and columns."""

    size: Pair
    before: Pair
    window: Pair

    def beyond(self, offset: Pair, lag: Pair) -> Iterator[tuple[int, Strip]]:
        """Strips of positions that the window of this offset leaves out; -1 for corners, counted twice before."""
        row_parts, column_parts = (self._outside(axis, offset[axis], lag[axis]) for axis in (0, 1))
        all_rows, all_columns = (self._valid(axis, lag[axis]) for axis in (0, 1))
        yield from ((1, Strip(lag, part, all_columns)) for part in row_parts)
        yield from ((1, Strip(lag, all_rows, part)) for part in column_parts)
        yield from ((-1, Strip(lag, *corner)) for corner in product(row_parts, column_parts))

    def _valid(self, axis: int, lag: int) -> Pair:
        """Where both x(q) and x(q + lag) lie on the maps, [start, stop)."""
        return max(0, -lag), max(0, -lag, min(self.size[axis], self.size[axis] - lag))

    def _outside(self, axis: int, offset: int, lag: int) -> list[Pair]:
        """The parts of the valid positions before and after the window of this offset."""
        start, stop = self._valid(axis, lag)
        first = min(max(offset - self.before[axis], start), stop)
        last = min(max(offset - self.before[axis] + self.window[axis], first), stop)
        return [part for part in ((start, first), (last, stop)) if part[0] < part[1]]


class _Cuts:
    """Products of strips of some images' maps.

    Args:
        margin: columns at either side that strips lie in, but for those of whole rows.
    """

    def __init__(self, features_BCHW: Tensor, margin: int, precision: torch.dtype) -> None:
        self.maps_CBHW, self.margin, self.precision = features_BCHW.transpose(0, 1), margin, precision
        # Contiguous copies: gathering a column of the maps again for each product would read all of them each time.
        self.left = self.maps_CBHW[..., :margin].to(precision)
        self.right = self.maps_CBHW[..., max(0, features_BCHW.shape[3] - margin) :].to(precision)
        self.cut = cache(self._cut)

    def product(self, strip: Strip) -> Tensor:
        """sum over its positions q of x(q) x(q + lag)^T, (C, C)."""
        here, there = (
            self.cut((strip.rows[0] + down, strip.rows[1] + down), (strip.columns[0] + right, strip.columns[1] + right))
            for down, right in ((0, 0), strip.lag)
        )
        return here @ there.T

    def _cut(self, rows: Pair, columns: Pair) -> Tensor:
        """A rectangle of all maps, (C, positions)."""
        start, stop, width = *columns, self.maps_CBHW.shape[3]
        if stop <= self.margin:
            maps = self.left[..., start:stop]
        elif start >= width - self.margin:
            maps = self.right[..., start - width + self.right.shape[-1] : stop - width + self.right.shape[-1]]
        else:
            maps = self.maps_CBHW[..., start:stop]
        return maps[:, :, rows[0] : rows[1]].to(self.precision, memory_format=torch.contiguous_format).flatten(1)
