"""A small U-Net with a space-to-depth stem: most of the work happens at half resolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genuq.networks.layers import (
    Conditioning,
    Depth,
    ResidualBlock,
    SelfAttention,
    Width,
    group_norm,
    require_image,
)
from genuq.networks.register import NETWORKS
from genuq.parts.bounds import Count, Items, Rate


@NETWORKS.add(name="unet", label="U-Net")
class UNet(nn.Module):
    """Residual U-Net (DDPM, ADM) conditioned on time and class.

    The last layer is `head`, a 3x3 convolution; only the rearrangement depth-to-space stands behind it.

    Args:
        shape: (C, H, W) of what it denoises.
        channels: features at each resolution, from fine to coarse; each level halves the resolution.
        blocks: residual blocks a level on the way down; as many plus one on the way up.
        stem: space-to-depth factor; 2 turns 1x28x28 into 4x14x14.
        num_classes: 0 means unconditional; otherwise class `num_classes` is the null class.
        dropout: dropout rate within the residual blocks.
    """

    def __init__(
        self,
        shape: Sequence[int],
        channels: Annotated[Sequence[Width], Items()] = (32, 80),
        blocks: Depth = 1,
        stem: Count = 2,
        num_classes: int = 0,
        dropout: Rate = 0.0,
    ) -> None:
        super().__init__()
        require_image(shape, stem * 2 ** (len(channels) - 1))
        self.stem, self.num_classes = stem, num_classes
        condition = 4 * channels[0]
        self.condition = Conditioning(condition, num_classes)
        self.entry = nn.Conv2d(shape[0] * stem**2, channels[0], 3, padding=1)
        self.down, skips = self._way_down(channels, blocks, condition, dropout)
        self.middle = nn.ModuleList(
            [
                ResidualBlock(channels[-1], channels[-1], condition, dropout),
                SelfAttention(channels[-1]),
                ResidualBlock(channels[-1], channels[-1], condition, dropout),
            ]
        )
        self.up = self._way_up(channels, blocks, condition, dropout, skips)
        self.norm = group_norm(channels[0])
        self.head = nn.Conv2d(channels[0], shape[0] * stem**2, 3, padding=1)
        nn.init.zeros_(self.head.weight)

    @staticmethod
    def _way_down(
        channels: Sequence[int], blocks: int, condition: int, dropout: float
    ) -> tuple[nn.ModuleList, list[int]]:
        layers, skips, width = nn.ModuleList(), [channels[0]], channels[0]
        for level, outputs in enumerate(channels):
            for _ in range(blocks):
                layers.append(ResidualBlock(width, outputs, condition, dropout))
                width = outputs
                skips.append(width)
            if level < len(channels) - 1:
                layers.append(nn.Conv2d(width, width, 3, stride=2, padding=1))
                skips.append(width)
        return layers, skips

    @staticmethod
    def _way_up(
        channels: Sequence[int], blocks: int, condition: int, dropout: float, skips: list[int]
    ) -> nn.ModuleList:
        layers, width = nn.ModuleList(), channels[-1]
        for level, outputs in reversed(list(enumerate(channels))):
            for _ in range(blocks + 1):
                layers.append(ResidualBlock(width + skips.pop(), outputs, condition, dropout))
                width = outputs
            if level > 0:
                layers.append(nn.Upsample(scale_factor=2))
        return layers

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """Prediction at x (B, C, H, W), times t (B,) in [0, 1], classes y (B,); the same shape as x."""
        condition = self.condition(t, y)
        h = self.entry(F.pixel_unshuffle(x, self.stem))
        skips = [h]
        for layer in self.down:
            h = layer(h, condition) if isinstance(layer, ResidualBlock) else layer(h)
            skips.append(h)
        for layer in self.middle:
            h = layer(h, condition) if isinstance(layer, ResidualBlock) else layer(h)
        for layer in self.up:
            h = layer(torch.cat([h, skips.pop()], 1), condition) if isinstance(layer, ResidualBlock) else layer(h)
        return F.pixel_shuffle(self.head(F.silu(self.norm(h))), self.stem)
