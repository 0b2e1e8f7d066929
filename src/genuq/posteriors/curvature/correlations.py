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
from functools import cache
from itertools import product

import torch
from torch import Tensor

Pair = tuple[int, int]

# Float64 values in work, for each thread: 4 MiB fit a cache, 128 MiB fill a GPU. With many channels, a share of A.
VALUES_AT_ONCE = {"cpu": 2**19, "cuda": 2**24}


def fill_patch_gram(gram: Tensor, features_BCHW: Tensor, kernel: Pair, before: Pair, window: Pair) -> None:
    """Write the sum over images and positions of patch patch^T, entries ordered as a filter's.

    Args:
        gram: (C k, C k), float64, overwritten.
        features_BCHW: maps of any precision, zero outside.
        kernel: rows and columns of a patch, k entries in all.
        before: rows and columns of padding above and left of the maps.
        window: rows and columns of positions, the size of the convolution's output.
    """
    columns, offsets = kernel[1], list(product(range(kernel[0]), range(kernel[1])))
    blocks = gram.unflatten(1, (-1, len(offsets))).unflatten(0, (-1, len(offsets)))
    everything = lag_correlations(features_BCHW, kernel)
    border = _Border(features_BCHW, kernel, before, window)
    row_kCC = everything.new_empty(len(offsets), *everything.shape[2:])
    for i, u in enumerate(offsets):
        # A row of blocks at a time, so that neighbours in the matrix are written together.
        for j, v in enumerate(offsets):
            first, last = min(u, v), max(u, v)
            lag = (last[0] - first[0], last[1] - first[1])
            block_CC = row_kCC[j] if i <= j else row_kCC[j].T
            block_CC.copy_(everything[lag[0], lag[1] + columns - 1])
            border.take_from(block_CC, first, lag)
        row_kCC[i] = (row_kCC[i] + row_kCC[i].T) / 2  # symmetric but for rounding
        blocks[:, i] = row_kCC.permute(1, 2, 0)


def lag_correlations(features_BCHW: Tensor, kernel: Pair) -> Tensor:
    """sum over images and positions q of x(q) x(q + lag)^T, (rows, 2 columns - 1, C, C), float64.

    Row lags run from 0, column lags from 1 - columns.
    """
    (rows, columns), (_, channels, height, width) = kernel, features_BCHW.shape
    if kernel == (1, 1):
        return _without_lag(features_BCHW)[None, None]
    waves_4FW, weights_L3F = _waves(width, columns, features_BCHW.device)
    sums = waves_4FW.new_zeros(rows, 2 * columns - 1, channels**2)
    at_once = max(_values_at_once(features_BCHW.device), 32 * channels**2)
    # A few groups of frequencies at most: each reads all maps again.
    frequencies = max(at_once // (3 * rows * channels**2), -(-weights_L3F.shape[2] // 4))
    images = max(1, at_once // (4 * channels * height * width), channels // (2 * height))
    for waves, weights in zip(waves_4FW.split(frequencies, 1), weights_L3F.split(frequencies, 2)):
        products = sums.new_zeros(rows, *weights.shape[1:], channels, channels)
        for part in features_BCHW.split(images):
            _add_products(products, _rows_with_gaps(part, rows - 1), waves)
        products[0, 2] = products[0, 0].mT
        sums += weights.flatten(1) @ products.view(rows, -1, channels**2)
    return sums.unflatten(-1, (channels, channels))


def _without_lag(features_BCHW: Tensor) -> Tensor:
    """sum over images and positions of x x^T, (C, C), float64."""
    total = features_BCHW.new_zeros((features_BCHW.shape[1],) * 2, dtype=torch.float64)
    for image in features_BCHW:
        x_CP = image.double().flatten(1)
        total.addmm_(x_CP, x_CP.T)
    return total


def _values_at_once(device: torch.device) -> int:
    values = VALUES_AT_ONCE.get(device.type, VALUES_AT_ONCE["cpu"])
    return values * torch.get_num_threads() if device.type == "cpu" else values


def _rows_with_gaps(features_BCHW: Tensor, gap: int) -> Tensor:
    """All rows of all images one after the other, (C, N, W), float64; `gap` zero rows keep the images apart."""
    images, channels, height, width = features_BCHW.shape
    rows = features_BCHW.new_empty(channels, images, height + gap, width, dtype=torch.float64)
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


class _Border:
    """What the correlation over all positions counts and a pair of kernel offsets does not reach."""

    def __init__(self, features_BCHW: Tensor, kernel: Pair, before: Pair, window: Pair) -> None:
        self.size, self.before, self.window = features_BCHW.shape[2:], before, window
        self.maps_CBHW = features_BCHW.transpose(0, 1)
        self.margin = kernel[1] - 1
        # Contiguous copies: gathering a column of the maps again for each product would read all of them each time.
        self.left = self.maps_CBHW[..., : self.margin].double()
        self.right = self.maps_CBHW[..., max(0, self.size[1] - self.margin) :].double()
        self.strip, self.cut = cache(self._strip), cache(self._cut)

    def take_from(self, block_CC: Tensor, u: Pair, lag: Pair) -> None:
        """Subtract x(q) x(q + lag)^T of the positions q that offset u misses: rows, and columns but for corners."""
        row_parts, column_parts = (self._outside(axis, u[axis], lag[axis]) for axis in (0, 1))
        all_rows, all_columns = (self._valid(axis, lag[axis]) for axis in (0, 1))
        for part in row_parts:
            block_CC -= self.strip(lag, part, all_columns)
        for part in column_parts:
            block_CC -= self.strip(lag, all_rows, part)
        for corner in product(row_parts, column_parts):
            block_CC += self.strip(lag, *corner)

    def _valid(self, axis: int, lag: int) -> Pair:
        """Where both x(q) and x(q + lag) lie on the maps, [start, stop)."""
        return max(0, -lag), max(0, -lag, min(self.size[axis], self.size[axis] - lag))

    def _outside(self, axis: int, offset: int, lag: int) -> list[Pair]:
        """The parts of the valid positions before and after the window of this offset."""
        start, stop = self._valid(axis, lag)
        first = min(max(offset - self.before[axis], start), stop)
        last = min(max(offset - self.before[axis] + self.window[axis], first), stop)
        return [part for part in ((start, first), (last, stop)) if part[0] < part[1]]

    def _strip(self, lag: Pair, rows: Pair, columns: Pair) -> Tensor:
        """sum over q in rows x columns of x(q) x(q + lag)^T, (C, C)."""
        here, there = (
            self.cut((rows[0] + down, rows[1] + down), (columns[0] + right, columns[1] + right))
            for down, right in ((0, 0), lag)
        )
        return here @ there.T

    def _cut(self, rows: Pair, columns: Pair) -> Tensor:
        """A rectangle of all maps, (C, positions), float64."""
        start, stop, width = *columns, self.size[1]
        if stop <= self.margin:
            maps = self.left[..., start:stop]
        elif start >= width - self.margin:
            maps = self.right[..., start - width + self.right.shape[-1] : stop - width + self.right.shape[-1]]
        else:
            maps = self.maps_CBHW[..., start:stop]
        return maps[:, :, rows[0] : rows[1]].to(torch.float64, memory_format=torch.contiguous_format).flatten(1)
