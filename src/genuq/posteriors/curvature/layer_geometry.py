"""The linear map of any layer that a posterior over several layers covers: as for a head, or through unfolding."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genuq.posteriors.curvature.gram_sums import GramSums, RowSums
from genuq.posteriors.curvature.head import Head, conv_padding, head_of


class UnfoldedConv(Head):
    """Conv2d with any kernel, stride, dilation and zero padding, one group: a_p are the columns of `unfold`."""

    channel_axis = 1
    layer: nn.Conv2d

    def _padded(self, features: Tensor) -> Tensor:
        return F.pad(features, conv_padding(self.layer))

    def _patches(self, features: Tensor) -> Tensor:
        """a_p, (B, K, P)."""
        layer = self.layer
        patches = F.unfold(self._padded(features), layer.kernel_size, layer.dilation, stride=layer.stride)
        return F.pad(patches, (0, 0, 0, 1), value=1.0) if self.bias else patches

    def gram_sums(self, products: torch.dtype = torch.float64) -> GramSums:
        def rows(features: Tensor) -> Iterator[Tensor]:
            for image in features.split(1):
                yield self._patches(image.to(products))[0].T

        return RowSums(self.inputs, rows, products)

    def project(self, features: Tensor, matrix_RK: Tensor) -> Tensor:
        layer, columns = self.layer, self.inputs - self.bias
        filters = matrix_RK[:, :columns].reshape(-1, *layer.weight.shape[1:])
        ones = matrix_RK[:, columns] if self.bias else None
        return F.conv2d(self._padded(features), filters, ones, stride=layer.stride, dilation=layer.dilation)

    def gradients(self, features: Tensor, residuals: Tensor) -> Tensor:
        return residuals.flatten(2) @ self._patches(features).mT


def obstacle(layer: nn.Module) -> str | None:
    """Why a layer cannot be covered, or None if it can."""
    if not isinstance(layer, nn.Conv2d | nn.Linear):
        return f"is a {type(layer).__name__}, not a Conv2d or Linear"
    if not isinstance(layer.weight, nn.Parameter) or not isinstance(layer.bias, nn.Parameter | None):
        return (
            "has a weight or bias that is computed (weight or spectral normalisation), not a parameter; remove the "
            "parametrisation first (torch.nn.utils.parametrize.remove_parametrizations)"
        )
    if isinstance(layer, nn.Conv2d) and layer.groups > 1:
        return f"is a Conv2d with groups={layer.groups}; one group is needed"
    if isinstance(layer, nn.Conv2d) and layer.padding_mode != "zeros":
        return f"is a Conv2d with padding_mode={layer.padding_mode}; zero padding is needed"
    return None


def geometry_of(layer: nn.Module) -> Head:
    """The geometry of a layer without `obstacle`."""
    if isinstance(layer, nn.Conv2d) and any(side != 1 for side in (*layer.stride, *layer.dilation)):
        return UnfoldedConv(layer)
    return head_of(layer)
