"""Sums of a_p a_p^T over images: added to batch by batch, put together only when they are asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from genuq.posteriors.curvature.correlations import Pair, PatchSums

MapShape = tuple[int, int, int]


class GramSums(ABC):
    """The sum over images and positions of a_p a_p^T.

    Args:
        products: precision in which the values of some images are multiplied; what is kept is float64, on the CPU.
    """

    def __init__(self, products: torch.dtype = torch.float64) -> None:
        self.products = products

    @abstractmethod
    def add(self, features: Tensor) -> None:
        """Add images, by the layer's input in any precision."""

    @abstractmethod
    def matrix(self) -> Tensor:
        """A, (K, K), float64."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """All that was added, by names without a slash, from which `load` goes on to the same numbers."""

    @abstractmethod
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take what another's `state` gave in place of the own."""


class RowSums(GramSums):
    """Of a_p that are there one by one.

    Args:
        inputs: K.
        rows: of the layer's input in the precision of the products, some a_p (P, K) at a time.
    """

    def __init__(self, inputs: int, rows: Callable[[Tensor], Iterable[Tensor]], products: torch.dtype) -> None:
        super().__init__(products)
        self.rows, self.total_KK = rows, torch.zeros(inputs, inputs, dtype=torch.float64)

    def add(self, features: Tensor) -> None:
        found = features.new_zeros(self.total_KK.shape, dtype=self.products)
        for a_PK in self.rows(features):
            found.addmm_(a_PK.T, a_PK)
        self.total_KK += found.cpu()

    def matrix(self) -> Tensor:
        return self.total_KK.clone()

    def state(self) -> dict[str, Tensor]:
        return {"total": self.total_KK.clone()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        self.total_KK = state["total"].clone()


class ConvGeometry(NamedTuple):
    """Of a convolution with stride 1 and no dilation.

    Attributes:
        inputs: K, entries of a_p, those of a bias included.
        kernel: rows and columns of a patch.
        before: rows and columns of padding above and left of the maps.
        window: rows and columns of the output for maps of some rows and columns.
        patch_sum: sum over positions of the patch there, (C k,), of maps (C, H, W).
    """

    inputs: int
    bias: bool
    kernel: Pair
    before: Pair
    window: Callable[[Pair], Pair]
    patch_sum: Callable[[Tensor], Tensor]


class ConvSums(GramSums):
    """Of a convolution's patches, never unfolded, with a 1 for the bias. Maps of several sizes add up."""

    def __init__(self, geometry: ConvGeometry, products: torch.dtype) -> None:
        super().__init__(products)
        self.geometry = geometry
        self.patches: dict[MapShape, PatchSums] = {}
        self.maps: dict[MapShape, Tensor] = {}  # summed over images
        self.positions = 0

    def add(self, features: Tensor) -> None:
        channels, height, width = features.shape[1:]
        patches, window = self._of_shape((channels, height, width)), self.geometry.window((height, width))
        patches.add(features)
        self.maps[channels, height, width] += summed(features).cpu()
        self.positions += len(features) * window[0] * window[1]

    def _of_shape(self, shape: MapShape) -> PatchSums:
        if shape not in self.patches:
            geometry = (self.geometry.kernel, self.geometry.before, self.geometry.window(shape[1:]))
            self.patches[shape] = PatchSums(shape, *geometry, self.products)
            self.maps[shape] = torch.zeros(shape, dtype=torch.float64)
        return self.patches[shape]

    def matrix(self) -> Tensor:
        columns = self.geometry.inputs - self.geometry.bias
        gram = torch.zeros(self.geometry.inputs, self.geometry.inputs, dtype=torch.float64)
        for shape, patches in self.patches.items():
            patches.add_to(gram[:columns, :columns])
            if self.geometry.bias:
                gram[columns, :columns] += self.geometry.patch_sum(self.maps[shape])
        if self.geometry.bias:
            gram[:columns, columns] = gram[columns, :columns]
            gram[columns, columns] = self.positions
        return gram

    def state(self) -> dict[str, Tensor]:
        found = {"positions": torch.tensor(self.positions)}
        for shape, patches in self.patches.items():
            parts = {"lags": patches.lags, "strips": torch.stack([patches.lags[0, 0], *patches.strips.values()])}
            found |= {f"{_words(shape)} {name}": part.clone() for name, part in parts.items()}
            found[f"{_words(shape)} maps"] = self.maps[shape].clone()
        return found

    def load(self, state: Mapping[str, Tensor]) -> None:
        self.patches, self.maps, self.positions = {}, {}, int(state["positions"])
        for name in [name for name in state if name.endswith(" maps")]:
            words = name.removesuffix(" maps")
            channels, height, width = map(int, words.split(" "))
            patches = self._of_shape((channels, height, width))
            self.maps[channels, height, width] = state[name].clone()
            patches.lags = state[f"{words} lags"].clone()
            patches.strips = dict(zip(patches.strips, state[f"{words} strips"][1:].clone()))


def _words(shape: MapShape) -> str:
    return " ".join(map(str, shape))


VALUES_AT_ONCE = 2**18  # in float64 beside the features: 2 MiB


def summed(features_BCHW: Tensor, of: Callable[[Tensor], Tensor] = lambda part: part) -> Tensor:
    """Sum over images of the maps, or `of` them, (C, H, W), float64, a few at a time."""
    total = features_BCHW.new_zeros(features_BCHW.shape[1:], dtype=torch.float64)
    for part in features_BCHW.split(max(1, VALUES_AT_ONCE // total.numel())):
        total += of(part.double()).sum(0)
    return total
