"""The last layer as a linear map of its parameters: a_p, the unfolded input at position p, without unfolding.

With W (O, K) the weights and bias of one layer, its output at position p is W a_p, where a_p (K) is the input patch
with a 1 appended for the bias. Everything a last-layer posterior needs is a sum over positions of products of a_p.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genuq.errors import ConfigurationError


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
        weight = self.layer.weight.detach().double().flatten(1)
        if self.layer.bias is None:
            return weight
        return torch.cat([weight, self.layer.bias.detach().double()[:, None]], dim=1)

    def parameters(self, matrix_OK: Tensor) -> dict[str, Tensor]:
        """W (O, K) as the layer's parameters, in their shape, precision and place."""
        weight = self.layer.weight
        columns = weight[0].numel()
        values = {"weight": matrix_OK[:, :columns].reshape(weight.shape).to(weight)}
        if self.layer.bias is not None:
            values["bias"] = matrix_OK[:, columns].to(self.layer.bias)
        return values

    @abstractmethod
    def gram(self, features: Tensor) -> Tensor:
        """A = sum over batch and positions of a_p a_p^T, (K, K), in the precision of `features`."""

    @abstractmethod
    def project(self, features: Tensor, matrix_RK: Tensor) -> Tensor:
        """matrix @ a_p at every position: a map with R channels in the layout of the layer's output."""

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

    def gram(self, features: Tensor) -> Tensor:
        a = self._with_one(features).flatten(0, 1)
        return a.T @ a

    def project(self, features: Tensor, matrix_RK: Tensor) -> Tensor:
        columns = features.shape[-1]
        return F.linear(features, matrix_RK[:, :columns], matrix_RK[:, columns] if self.bias else None)

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
        columns = features.shape[1] * self.kernel[0] * self.kernel[1]
        filters = matrix_RK[:, :columns].reshape(-1, features.shape[1], *self.kernel)
        return F.conv2d(F.pad(features, self.padding), filters, matrix_RK[:, columns] if self.bias else None)

    def gradients(self, features: Tensor, residuals: Tensor) -> Tensor:
        padded, (height, width) = F.pad(features, self.padding), residuals.shape[2:]
        residuals_BOP = residuals.flatten(2)
        taps = [
            residuals_BOP @ padded[:, :, row : row + height, column : column + width].flatten(2).mT
            for row in range(self.kernel[0])
            for column in range(self.kernel[1])
        ]
        gradients_BOK = torch.stack(taps, dim=-1).flatten(2)
        return torch.cat([gradients_BOK, residuals_BOP.sum(2, keepdim=True)], 2) if self.bias else gradients_BOK

    def gram(self, features: Tensor) -> Tensor:
        return _Correlations(F.pad(features, self.padding), self.padding, self.kernel).gram(self.bias)


class _Correlations:
    """Sums of products of shifted feature maps, by lag.

    The entry of A for kernel offsets (u, v) is sum_p x(p + u) x(p + v)^T: the correlation of the padded maps at lag
    v - u over a window of positions that starts at u. The correlation over everything is shared by all pairs of one
    lag; what lies outside a pair's window is a few border rows and columns, which are subtracted. A 3x3 head so
    needs 13 large products of C x C, not 45, and no unfolded copy of the features.
    """

    def __init__(self, padded_BCHW: Tensor, padding: tuple[int, int, int, int], kernel: tuple[int, int]) -> None:
        self.maps_CBHW = padded_BCHW.transpose(0, 1).contiguous()
        left, right, top, bottom = padding
        height, width = self.maps_CBHW.shape[2:]
        self.filled = ((top, height - bottom), (left, width - right))  # outside, the padded maps are zero
        self.kernel = kernel
        self.window = (height - kernel[0] + 1, width - kernel[1] + 1)

    def gram(self, bias: bool) -> Tensor:
        channels, taps = len(self.maps_CBHW), self.kernel[0] * self.kernel[1]
        blocks = self.maps_CBHW.new_zeros(channels, taps, channels, taps)
        for lag in self._half_of_the_lags():
            for u, v, block in self._blocks_of(lag):
                blocks[:, u, :, v] = block
                blocks[:, v, :, u] = block.T
        gram = blocks.reshape(channels * taps, channels * taps)
        return self._with_bias(gram) if bias else gram

    def _half_of_the_lags(self) -> list[tuple[int, int]]:
        rows, columns = self.kernel
        lags = [(dr, dc) for dr in range(rows) for dc in range(1 - columns, columns)]
        return [lag for lag in lags if lag >= (0, 0)]

    def _blocks_of(self, lag: tuple[int, int]) -> list[tuple[int, int, Tensor]]:
        """(tap u, tap v, C x C block) for all pairs of kernel offsets with v - u = lag."""
        starts = [range(max(0, -d), k - max(0, d)) for d, k in zip(lag, self.kernel)]
        region = [(s[0], s[-1] + n) for s, n in zip(starts, self.window)]
        everything = self._product(lag, *region)
        blocks = []
        for u_row in starts[0]:
            rows = (u_row, u_row + self.window[0])
            in_rows = everything - sum(self._product(lag, strip, region[1]) for strip in _outside(rows, region[0]))
            for u_column in starts[1]:
                columns = (u_column, u_column + self.window[1])
                block = in_rows - sum(self._product(lag, rows, strip) for strip in _outside(columns, region[1]))
                u = u_row * self.kernel[1] + u_column
                blocks.append((u, u + lag[0] * self.kernel[1] + lag[1], block))
        return blocks

    def _product(self, lag: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
        """sum over q in rows x columns of x(q) x(q + lag)^T, (C, C), skipping where either factor is padding."""
        spans = [
            (max(low, start, start - d), min(high, stop, stop - d))
            for (low, high), (start, stop), d in zip((rows, columns), self.filled, lag)
        ]
        channels = len(self.maps_CBHW)
        if any(low >= high for low, high in spans):
            return self.maps_CBHW.new_zeros(channels, channels)
        (top, bottom), (left, right) = spans
        here = self.maps_CBHW[:, :, top:bottom, left:right].reshape(channels, -1)
        there = self.maps_CBHW[:, :, top + lag[0] : bottom + lag[0], left + lag[1] : right + lag[1]]
        return here @ there.reshape(channels, -1).T

    def _with_bias(self, gram: Tensor) -> Tensor:
        summed_CHW = self.maps_CBHW.sum(1)
        sums = F.unfold(summed_CHW[:, None], self.window).sum(1).flatten()
        count = gram.new_tensor(self.maps_CBHW.shape[1] * self.window[0] * self.window[1])
        return torch.cat([torch.cat([gram, sums[:, None]], 1), torch.cat([sums, count[None]])[None]])


def _outside(inner: tuple[int, int], outer: tuple[int, int]) -> list[tuple[int, int]]:
    """The parts of `outer` before and after `inner`, where not empty."""
    parts = [(outer[0], inner[0]), (inner[1], outer[1])]
    return [part for part in parts if part[0] < part[1]]


def conv_padding(layer: nn.Conv2d) -> tuple[int, int, int, int]:
    """(left, right, top, bottom) as F.pad takes it."""
    if layer.padding == "valid":
        return (0, 0, 0, 0)
    if layer.padding == "same":
        (rows, columns) = (d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size))
        return (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
    row, column = (int(side) for side in layer.padding)
    return (column, column, row, row)


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
