"""A residual MLP for points in a few dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from genuq.networks.layers import Conditioning, Depth, Width
from genuq.networks.register import NETWORKS


@NETWORKS.add(name="mlp", label="Residual MLP")
class MLP(nn.Module):
    """Residual MLP conditioned on time and class; the last layer is `head`.

    Args:
        shape: shape of a point, for instance (2,).
        width: hidden features.
        depth: residual layers.
        num_classes: 0 means unconditional; otherwise class `num_classes` is the null class.
    """

    def __init__(self, shape: Sequence[int], width: Width = 128, depth: Depth = 3, num_classes: int = 0) -> None:
        super().__init__()
        self.num_classes = num_classes
        dimension = math.prod(shape)
        self.condition = Conditioning(width, num_classes)
        self.entry = nn.Linear(dimension, width)
        self.layers = nn.ModuleList([nn.Linear(width, width) for _ in range(depth)])
        self.head = nn.Linear(width, dimension)

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """Prediction at x (B, *shape), times t (B,) in [0, 1], classes y (B,); the same shape as x."""
        condition = self.condition(t, y)
        h = self.entry(x.flatten(1))
        for layer in self.layers:
            h = h + layer(F.silu(h + condition))
        return self.head(F.silu(h)).reshape(x.shape)
