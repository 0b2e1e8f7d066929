"""A small diffusion transformer with adaptive layer norm (DiT, Peebles & Xie 2023, adaLN-Zero)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genuq.networks.layers import Conditioning, Depth, Width, require_divisible, require_image
from genuq.networks.register import NETWORKS
from genuq.parts.bounds import Count


class TransformerBlock(nn.Module):
    """Self-attention and an MLP, each scaled, shifted and gated by the condition; starts as the identity."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width, elementwise_affine=False)
        self.norm_mlp = nn.LayerNorm(width, elementwise_affine=False)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x_BPK: Tensor, condition: Tensor) -> Tensor:
        modulation = self.modulation(F.silu(condition))[:, None]
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = modulation.chunk(6, dim=-1)
        x_BPK = x_BPK + gate_a * self._attend(self.norm_attention(x_BPK) * (1 + scale_a) + shift_a)
        return x_BPK + gate_m * self.mlp(self.norm_mlp(x_BPK) * (1 + scale_m) + shift_m)

    def _attend(self, x_BPK: Tensor) -> Tensor:
        batch, tokens, width = x_BPK.shape
        qkv = self.query_key_value(x_BPK).reshape(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value)
        return self.projection(attended.transpose(1, 2).reshape(batch, tokens, width))


@NETWORKS.add(name="dit", label="Diffusion transformer (DiT)")
class DiT(nn.Module):
    """Patches to tokens, transformer blocks, tokens to patches. The last layer is `head`, linear on tokens.

    Args:
        shape: (C, H, W) of what it denoises.
        patch: side of a patch in pixels.
        width: features of a token; a multiple of `heads`.
        depth: number of blocks.
        heads: attention heads.
        num_classes: 0 means unconditional; otherwise class `num_classes` is the null class.
    """

    def __init__(
        self,
        shape: Sequence[int],
        patch: Count = 2,
        width: Width = 128,
        depth: Depth = 6,
        heads: Count = 4,
        num_classes: int = 0,
    ) -> None:
        super().__init__()
        require_image(shape, patch)
        require_divisible(width, heads, "network.width")
        self.patch, self.num_classes = patch, num_classes
        tokens, values = (shape[1] // patch) * (shape[2] // patch), shape[0] * patch**2
        self.condition = Conditioning(width, num_classes)
        self.entry = nn.Linear(values, width)
        self.position = nn.Parameter(0.02 * torch.randn(1, tokens, width))
        self.blocks = nn.ModuleList([TransformerBlock(width, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Linear(width, 2 * width)
        self.head = nn.Linear(width, values)
        for layer in (self.modulation, self.head):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """Prediction at x (B, C, H, W), times t (B,) in [0, 1], classes y (B,); the same shape as x."""
        condition = self.condition(t, y)
        tokens_BPK = self.entry(F.unfold(x, self.patch, stride=self.patch).mT) + self.position
        for block in self.blocks:
            tokens_BPK = block(tokens_BPK, condition)
        shift, scale = self.modulation(F.silu(condition))[:, None].chunk(2, dim=-1)
        values_BPK = self.head(self.norm(tokens_BPK) * (1 + scale) + shift)
        return F.fold(values_BPK.mT, x.shape[-2:], self.patch, stride=self.patch)
