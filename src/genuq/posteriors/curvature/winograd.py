"""Sums of squares of many 3x3 convolutions of the same maps, through products of transformed tiles (Toom-Cook).

A tile of 4x4 outputs reads 6x6 inputs. Its outputs are the coefficients of a product of polynomials, which six points
along each axis determine: 36 products in place of 144, each a large matrix product over channels. The points are 0,
infinity and two pairs that were chosen for the smallest error in float32: it is that of the convolution itself (a pair
2, -2, as is usual where sums of integers are wanted, costs a digit).

Source: Winograd 1980; for convolutional layers Lavin & Gray 2016; the choice of points Barabasz et al. 2020.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

KERNEL = (3, 3)
_OUT = 4  # outputs of a tile along each axis
_IN = _OUT + KERNEL[0] - 1
_POINTS = (0.0, 0.7, -0.7, 1.6, -1.6)  # and infinity
_FEWEST = 512  # positions from which on the transform of the filters is worth its while
# Values in work at a time: products of transformed tiles, which fit a cache, or fill a GPU.
VALUES_AT_ONCE = {"cpu": 2**19, "cuda": 2**25}


def saves(positions: tuple[int, int, int]) -> bool:
    """Whether tiles cost at most half of plain convolutions, for this many images, rows and columns of outputs."""
    images, height, width = positions
    tiles = images * -(-height // _OUT) * -(-width // _OUT)
    return images * height * width >= max(_FEWEST, 8 * tiles)


class Tiles:
    """Maps cut into overlapping tiles and transformed, a few tiles at a time.

    Args:
        padded_BCHW: maps with their padding.
        rows: how many outputs are going to be asked for at a time.
    """

    def __init__(self, padded_BCHW: Tensor, rows: int) -> None:
        images, self.channels, height, width = padded_BCHW.shape
        self.window = height - _IN + _OUT, width - _IN + _OUT
        self.grid = images, *(-(-side // _OUT) for side in self.window)
        missing = [count * _OUT - side for count, side in zip(self.grid[1:], self.window)]
        whole = F.pad(padded_BCHW, (0, missing[1], 0, missing[0]))
        tiles = (
            whole.unfold(2, _IN, _OUT).unfold(3, _IN, _OUT).permute(4, 5, 1, 0, 2, 3).reshape(_IN**2, self.channels, -1)
        )
        values = VALUES_AT_ONCE.get(padded_BCHW.device.type, VALUES_AT_ONCE["cpu"])
        self._inputs, self._filters, self._outputs = _transforms()
        transform = self._inputs.to(padded_BCHW)
        self.parts = [
            (transform @ part.flatten(1)).unflatten(1, part.shape[1:])
            for part in tiles.split(max(1, values // (rows * _IN**2 * 16)) * 16, dim=2)
        ]

    def squares(self, filters_RK: Tensor, weights_OR: Tensor | None) -> Tensor:
        """sum_r weights_or (filter_r * maps)^2, (16, O, tiles); weights None are ones.

        Filters with fewer columns than the maps have taps read the first channels alone.
        """
        taps = KERNEL[0] * KERNEL[1]
        channels = -(-filters_RK.shape[1] // taps)
        filters = F.pad(filters_RK, (0, channels * taps - filters_RK.shape[1])).reshape(-1, taps)
        spectrum = (self._filters.to(filters) @ filters.T).to(self.parts[0]).unflatten(1, (-1, channels))
        sums = []
        for part in self.parts:
            products = torch.bmm(spectrum, part[:, :channels])
            maps = (self._outputs.to(products) @ products.flatten(1)).unflatten(1, products.shape[1:]).square_()
            sums.append(maps.sum(1, keepdim=True) if weights_OR is None else weights_OR @ maps)
        return torch.cat(sums, dim=2)

    def maps(self, values: Tensor) -> Tensor:
        """What `squares` gives, (16, O, tiles), as maps (B, O, H, W)."""
        tiled = values.unflatten(2, self.grid).unflatten(0, (_OUT, _OUT)).permute(3, 2, 4, 0, 5, 1)
        return tiled.flatten(4, 5).flatten(2, 3)[..., : self.window[0], : self.window[1]]


@cache
def _transforms() -> tuple[Tensor, Tensor, Tensor]:
    """Of tiles (36, 36), filters (36, 9) and products (16, 36), float64, for both axes at once."""
    along = [_powers(size) for size in (_IN, KERNEL[0], _OUT)]
    inputs, filters, outputs = torch.linalg.inv(along[0]).T, along[1], along[2].T
    # Each point's three factors may be scaled against each other: to the same size, so that none loses digits.
    sizes = [inputs.norm(dim=1), filters.norm(dim=1), outputs.norm(dim=0)]
    size = (sizes[0] * sizes[1] * sizes[2]) ** (1 / 3)
    inputs, filters, outputs = (
        inputs * (size / sizes[0])[:, None],
        filters * (size / sizes[1])[:, None],
        outputs * size / sizes[2],
    )
    return torch.kron(inputs, inputs), torch.kron(filters, filters), torch.kron(outputs, outputs)


def _powers(count: int) -> Tensor:
    """Values of the first monomials at the points, the last of them at infinity, (6, count)."""
    finite = torch.tensor(_POINTS, dtype=torch.float64)[:, None] ** torch.arange(count)
    infinite = torch.zeros(1, count, dtype=torch.float64)
    infinite[0, -1] = 1.0
    return torch.cat([finite, infinite])
