"""Pieces that the networks share: time and class embedding, space-to-depth, attention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genuq.errors import ConfigurationError
from genuq.parts.bounds import Limits

Width = Annotated[int, Limits(1, 2**16)]  # features; one matrix of the widest takes 16 GiB
Depth = Annotated[int, Limits(1, 10_000)]  # layers


class SinusoidalEmbedding(nn.Module):
    """Sine and cosine features of t in [0, 1], frequencies log-spaced as for 1000 discrete timesteps (DDPM)."""

    frequencies: Tensor

    def __init__(self, features: int, scale: float = 1000.0, slowest_period: float = 10_000.0) -> None:
        super().__init__()
        require_divisible(features, 2, "network.width")
        half = features // 2
        # On the CPU: on the meta device this arithmetic alone imports torch's compiler, for seconds.
        exponents = torch.arange(half, dtype=torch.float32, device="cpu") / half
        frequencies = (scale * slowest_period**-exponents).to(torch.get_default_device())
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, t_B: Tensor) -> Tensor:
        angles = t_B.float()[:, None] * self.frequencies
        return torch.cat([angles.cos(), angles.sin()], dim=1)


class Conditioning(nn.Module):
    """Embeds (t, class) into one vector. Class `num_classes` is the null class of classifier-free guidance."""

    def __init__(self, features: int, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.time = nn.Sequential(
            SinusoidalEmbedding(features), nn.Linear(features, features), nn.SiLU(), nn.Linear(features, features)
        )
        self.label = nn.Embedding(num_classes + 1, features) if num_classes else None

    def forward(self, t_B: Tensor, y_B: Tensor | None) -> Tensor:
        embedding = self.time[1:](self.time[0](t_B).to(self.time[1].weight.dtype))
        if self.label is None:
            return embedding
        if y_B is None:
            y_B = torch.full((len(t_B),), self.num_classes, device=t_B.device)
        return embedding + self.label(y_B)


class ResidualBlock(nn.Module):
    """GroupNorm, SiLU, 3x3 convolution, twice; the condition scales and shifts the second norm (ADM)."""

    def __init__(self, inputs: int, outputs: int, condition: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm_in, self.norm_out = group_norm(inputs), group_norm(outputs)
        self.conv_in = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv_out = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.modulation = nn.Linear(condition, 2 * outputs)
        self.dropout = nn.Dropout(dropout)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        nn.init.zeros_(self.conv_out.weight)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        h = self.conv_in(F.silu(self.norm_in(x)))
        scale, shift = self.modulation(F.silu(condition))[:, :, None, None].chunk(2, dim=1)
        h = self.dropout(F.silu(self.norm_out(h) * (1 + scale) + shift))
        return self.skip(x) + self.conv_out(h)


class SelfAttention(nn.Module):
    """Multi-head self-attention over all positions of a feature map, with a residual connection.

    As many heads as divide the channels and have at least `head_channels` each.
    """

    def __init__(self, channels: int, head_channels: int = 32) -> None:
        super().__init__()
        largest = max(1, channels // head_channels)
        self.heads = next(heads for heads in range(largest, 0, -1) if channels % heads == 0)
        self.norm = group_norm(channels)
        self.query_key_value = nn.Conv2d(channels, 3 * channels, 1)
        self.projection = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.projection.weight)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        qkv = self.query_key_value(self.norm(x)).reshape(batch, 3, self.heads, -1, height * width)
        query, key, value = qkv.transpose(-1, -2).unbind(1)
        attended = F.scaled_dot_product_attention(query, key, value).transpose(-1, -2)
        return x + self.projection(attended.reshape(batch, channels, height, width))


def group_norm(channels: int, largest: int = 16) -> nn.GroupNorm:
    """GroupNorm with the most groups up to `largest` that divide the channels."""
    return nn.GroupNorm(math.gcd(channels, largest), channels)


def require_divisible(size: int, divisor: int, what: str) -> None:
    if size % divisor:
        raise ConfigurationError(f"{what} = {size} is not divisible by {divisor}. Choose a multiple of {divisor}.")


def require_image(shape: Sequence[int], divisor: int) -> None:
    """Raise ConfigurationError unless `shape` is (C, H, W) with H and W multiples of `divisor`."""
    if len(shape) != 3:
        raise ConfigurationError(
            f"This network takes images (C, H, W), not shape {tuple(shape)}. For points choose network=mlp."
        )
    require_divisible(shape[1], divisor, "image height")
    require_divisible(shape[2], divisor, "image width")
