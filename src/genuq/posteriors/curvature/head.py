"""The last layer as a linear map of its parameters: a_p, the unfolded input at position p, without unfolding.

With W (O, K) the weights and bias of one layer, its output at position p is W a_p, where a_p (K) is the input patch
with a 1 appended for the bias. Everything a last-layer posterior needs is a sum over positions of products of a_p.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genuq.errors import ConfigurationError
from genuq.models.offloaded import parameters_of
from genuq.posteriors.curvature import winograd
from genuq.posteriors.curvature.gram_sums import VALUES_AT_ONCE, ConvGeometry, ConvSums, GramSums, RowSums, summed
from genuq.posteriors.swap import draw_precision

ROWS_AT_ONCE = 144  # of a matrix whose products are squared and summed, so that K maps never stand in memory together
MAPS_AT_ONCE = 2**24  # values of these maps, whatever the batch


class Head(ABC):
    """Geometry of a Conv2d or Linear layer.

    Attributes:
        layer: the layer itself.
        inputs: K, entries of a_p, bias included.
        outputs: O, output channels.
        channel_axis: which axis of the layer's output holds the channels.
    """

    channel_axis: ClassVar[int]
    inputs: int
    outputs: int

    def __init__(self, layer: nn.Conv2d | nn.Linear) -> None:
        self.layer, self.bias = layer, layer.bias is not None
        self.outputs = layer.weight.shape[0]
        self.inputs = layer.weight[0].numel() + self.bias

    def matrix(self) -> Tensor:
        """The parameters as W (O, K), float64."""
        return self.flattened(parameters_of(self.layer))

    def parameters(self, matrix_OK: Tensor) -> dict[str, Tensor]:
        """W (O, K) as the layer's parameters, in their shape and place, and their precision, at least float32."""
        weight = parameters_of(self.layer, ["weight"])["weight"]
        columns = weight[0].numel()
        values = {"weight": matrix_OK[:, :columns].reshape(weight.shape).to(weight.device, draw_precision(weight))}
        if self.layer.bias is not None:
            values["bias"] = matrix_OK[:, columns].to(weight.device, draw_precision(self.layer.bias))
        return values

    def flattened(self, values: Mapping[str, Tensor]) -> Tensor:
        """The layer's parameters, such as a weight draw, as W (O, K), float64: the inverse of `parameters`."""
        columns = [values["weight"].detach().double().flatten(1)]
        if self.bias:
            columns.append(values["bias"].detach().double()[:, None])
        return torch.cat(columns, dim=1)

    @abstractmethod
    def gram_sums(self, products: torch.dtype = torch.float64) -> GramSums:
        """A = sum over images and positions of a_p a_p^T, of no image yet.

        Args:
            products: precision in which values are multiplied.
        """

    def gram(self, features: Tensor) -> Tensor:
        """A of some images, (K, K), float64, on the CPU, from `features` of any precision."""
        sums = self.gram_sums()
        sums.add(features)
        return sums.matrix()

    def gram_diagonal(self, features: Tensor) -> Tensor:
        """The diagonal of A, (K,), float64."""
        return self.gram(features).diagonal()

    @abstractmethod
    def project(self, features: Tensor, matrix_RK: Tensor) -> Tensor:
        """matrix @ a_p at every position: a map with R channels in the layout of the layer's output.

        A matrix with fewer columns than a_p has entries reads the first channels of the features alone.
        """

    def _leading(self, features: Tensor, matrix_RK: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """(the channels that a matrix with that many columns reads, its columns for them, its column for the bias)."""
        taps = self.layer.weight[0, 0].numel()
        channels = min(features.shape[self.channel_axis], -(-matrix_RK.shape[1] // taps))
        weights = matrix_RK[:, : channels * taps]
        weights = F.pad(weights, (0, channels * taps - weights.shape[1]))
        bias = matrix_RK[:, -1] if self.bias and matrix_RK.shape[1] == self.inputs else None
        return features.narrow(self.channel_axis, 0, channels), weights, bias

    def square_sums(self, features: Tensor, matrix_RK: Tensor, weights_OR: Tensor | None = None) -> Tensor:
        """sum_r weights_or (matrix_r a_p)^2 at every position: float64, O channels in the layout of the layer's output.

        Args:
            features: the layer's input; the maps that are squared have its precision.
            matrix_RK: float64.
            weights_OR: None for one channel that sums the squares of a lower triangular matrix; its first rows read
                the first features alone.
        """
        channels = features.shape[self.channel_axis]
        # Beside the maps of some rows, transformed tiles of the features and their copies (`winograd`).
        values = max(ROWS_AT_ONCE, 5 * channels) * features.shape[1:].numel() // channels
        parts = features.split(max(1, MAPS_AT_ONCE // values))
        return torch.cat([self._square_sums(part, matrix_RK, weights_OR) for part in parts])

    def _square_sums(self, features: Tensor, matrix_RK: Tensor, weights_OR: Tensor | None) -> Tensor:
        total: Tensor | float = 0.0
        for rows_RK, some_OR in _rows_at_once(matrix_RK, weights_OR):
            squares = self.project(features, rows_RK.to(features)).square_().movedim(self.channel_axis, -1)
            summed = squares.sum(-1, keepdim=True) if some_OR is None else squares @ some_OR.T.to(features)
            total = total + summed.double()
        return torch.as_tensor(total).movedim(-1, self.channel_axis)

    def outer(self, at_output: Tensor) -> Tensor:
        """sum over batch and positions of g_p g_p^T, (O, O), for values g in the layout of the layer's output."""
        if self.channel_axis < 0:
            tokens = at_output.flatten(0, -2)
            return tokens.T @ tokens
        outer = at_output.new_zeros(self.outputs, self.outputs)
        for g_OP in at_output.flatten(2):
            outer.addmm_(g_OP, g_OP.T)
        return outer

    @abstractmethod
    def gradients(self, features: Tensor, residuals: Tensor) -> Tensor:
        """sum_p r_p a_p^T of each image, (B, O, K), for residuals in the layout of the layer's output."""


class LinearHead(Head):
    """Linear on (B, ..., C) tokens."""

    channel_axis = -1
    layer: nn.Linear

    def _with_one(self, features: Tensor) -> Tensor:
        tokens = features.reshape(len(features), -1, features.shape[-1])
        return F.pad(tokens, (0, 1), value=1.0) if self.bias else tokens

    def gram_sums(self, products: torch.dtype = torch.float64) -> GramSums:
        def rows(features: Tensor) -> Iterator[Tensor]:
            for tokens in features.reshape(-1, features.shape[-1]).split(max(1, VALUES_AT_ONCE // features.shape[-1])):
                yield self._with_one(tokens.to(products)).flatten(0, 1)

        return RowSums(self.inputs, rows, products)

    def project(self, features: Tensor, matrix_RK: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            return F.linear(*self._leading(features, matrix_RK))

    def gradients(self, features: Tensor, residuals: Tensor) -> Tensor:
        residuals_BPO = residuals.reshape(len(residuals), -1, residuals.shape[-1])
        return residuals_BPO.mT @ self._with_one(features)


class ConvHead(Head):
    """Conv2d with any kernel and zero padding, stride 1, no dilation or groups."""

    channel_axis = 1
    layer: nn.Conv2d

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__(layer)
        self.kernel = (int(layer.kernel_size[0]), int(layer.kernel_size[1]))
        self.padding = conv_padding(layer)

    def project(self, features: Tensor, matrix_RK: Tensor) -> Tensor:
        channels, weights, bias = self._leading(features, matrix_RK)
        filters = weights.reshape(-1, channels.shape[1], *self.kernel)
        with torch.autocast(features.device.type, enabled=False):
            return F.conv2d(F.pad(channels, self.padding), filters, bias)

    def _square_sums(self, features: Tensor, matrix_RK: Tensor, weights_OR: Tensor | None) -> Tensor:
        if self.kernel != winograd.KERNEL or not winograd.saves((len(features), *self._window(features.shape[2:]))):
            return super()._square_sums(features, matrix_RK, weights_OR)
        maps = F.pad(features, self.padding)
        if self.bias:
            maps = torch.cat([maps, torch.ones_like(maps[:, :1])], dim=1)  # of which the bias is a filter's first entry
        tiles = winograd.Tiles(maps, min(ROWS_AT_ONCE, len(matrix_RK)))
        total: Tensor | float = 0.0
        with torch.autocast(features.device.type, enabled=False):
            for rows_RK, some_OR in _rows_at_once(matrix_RK, weights_OR):
                weights = None if some_OR is None else some_OR.to(features)
                total = total + tiles.squares(rows_RK.to(features.device), weights).double()
        return tiles.maps(torch.as_tensor(total))

    def gradients(self, features: Tensor, residuals: Tensor) -> Tensor:
        # The residuals are shifted, not the features: a head has fewer outputs than inputs.
        (rows, columns), (left, right, top, bottom) = self.kernel, self.padding
        height, width = features.shape[2:]
        around = (columns - 1 - left, columns - 1 - right, rows - 1 - top, rows - 1 - bottom)
        shifted, features_BPC = F.pad(residuals, around), features.flatten(2).mT
        taps = [
            shifted[:, :, row : row + height, column : column + width].flatten(2) @ features_BPC
            for row in reversed(range(rows))
            for column in reversed(range(columns))
        ]
        gradients_BOK = torch.stack(taps, dim=-1).flatten(2)
        return torch.cat([gradients_BOK, residuals.sum((2, 3))[..., None]], 2) if self.bias else gradients_BOK

    def gram_sums(self, products: torch.dtype = torch.float64) -> GramSums:
        left, _, top, _ = self.padding
        geometry = (self.kernel, (top, left), self._window, self._patch_sum)
        return ConvSums(ConvGeometry(self.inputs, self.bias, *geometry), products)

    def gram_diagonal(self, features: Tensor) -> Tensor:
        squares_K = self._patch_sum(summed(features, torch.square))
        window = self._window(features.shape[2:])
        positions = squares_K.new_tensor([float(len(features) * window[0] * window[1])])
        return torch.cat([squares_K, positions]) if self.bias else squares_K

    def _window(self, size: Sequence[int]) -> tuple[int, int]:
        """Height and width of the layer's output, for maps of some height and width."""
        left, right, top, bottom = self.padding
        height, width = size
        return height + top + bottom - self.kernel[0] + 1, width + left + right - self.kernel[1] + 1

    def _patch_sum(self, maps_CHW: Tensor) -> Tensor:
        """Sum over positions of the patch there, (C k,)."""
        padded = F.pad(maps_CHW, self.padding)
        return F.avg_pool2d(padded, self._window(maps_CHW.shape[1:]), stride=1, divisor_override=1).flatten()


def _rows_at_once(matrix_RK: Tensor, weights_OR: Tensor | None) -> Iterator[tuple[Tensor, Tensor | None]]:
    """A few rows at a time, and their weights; without weights, of a lower triangle, up to its diagonal."""
    for start in range(0, len(matrix_RK), ROWS_AT_ONCE):
        stop = start + ROWS_AT_ONCE
        if weights_OR is None:
            yield matrix_RK[start:stop, :stop], None
        else:
            yield matrix_RK[start:stop], weights_OR[:, start:stop]


def conv_padding(layer: nn.Conv2d) -> tuple[int, int, int, int]:
    """(left, right, top, bottom) as F.pad takes it."""
    if layer.padding == "valid":
        return (0, 0, 0, 0)
    if layer.padding == "same":
        (rows, columns) = (d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size))
        return (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
    row, column = (int(side) for side in layer.padding)
    return (column, column, row, row)


def for_variances(features: Tensor) -> Tensor:
    """Features in the precision that variances are computed in, so as exact as the features can tell.

    Their own, at least float32; float64 on a GPU, whose convolutions may round to TF32.
    """
    features = features.detach()
    return features.double() if features.dtype == torch.float64 or features.device.type != "cpu" else features.float()


def head_of(layer: nn.Module) -> Head:
    """The geometry of a layer.

    Raises:
        ConfigurationError: neither Linear nor Conv2d with stride 1, zero padding, one group and no dilation, or a
            layer whose weight is computed from other parameters.
    """
    if not isinstance(layer, nn.Conv2d | nn.Linear):
        raise ConfigurationError(
            f"model.head is a {type(layer).__name__}; a last-layer posterior needs Conv2d or Linear."
        )
    if not isinstance(layer.weight, nn.Parameter):
        raise ConfigurationError(
            f"model.head is a {type(layer).__name__} whose weight is computed (weight or spectral normalisation), not "
            "a parameter. Remove the parametrisation first (torch.nn.utils.parametrize.remove_parametrizations)."
        )
    if isinstance(layer, nn.Linear):
        return LinearHead(layer)
    wrong = [
        f"{name}={value}"
        for name, value, right in (
            ("stride", tuple(layer.stride), (1, 1)),
            ("dilation", tuple(layer.dilation), (1, 1)),
            ("groups", layer.groups, 1),
            ("padding_mode", layer.padding_mode, "zeros"),
        )
        if value != right
    ]
    if wrong:
        raise ConfigurationError(
            f"model.head is a Conv2d with {', '.join(wrong)}; a last-layer posterior needs stride 1, no dilation, "
            "one group and zero padding. Choose another layer as model.head."
        )
    return ConvHead(layer)
