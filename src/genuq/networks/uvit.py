"""U-ViT: a transformer over time, class and patches as tokens, with long skips, with the names of released weights.

Source: Bao et al. 2023, "All are Worth Words: A ViT Backbone for Diffusion Models"; settings are called as theirs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genuq.networks.layers import Depth, Width, require_divisible, sinusoids
from genuq.parts.bounds import Count, WholeNumber


@dataclass(frozen=True, kw_only=True)
class UViTSettings:
    """What a U-ViT is made of.

    Attributes:
        img_size: side of what it denoises: of the latent, where there is one.
        patch_size: side of a patch.
        in_chans: channels of what it denoises.
        embed_dim: features of a token.
        depth: blocks besides the middle one, an even number.
        num_heads: of attention.
        num_classes: rows of its class embedding, a null class among them where it was trained with one; 0: none.
        conv: whether a convolution of 3x3 stands behind the patches, and so is the last layer.
    """

    img_size: Count
    patch_size: Count
    embed_dim: Width
    depth: Depth
    num_heads: Count
    in_chans: Count = 3
    num_classes: WholeNumber = 0
    conv: bool = True


class Attention(nn.Module):
    """Self-attention over tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        require_divisible(width, heads, "embed_dim")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x_BPK: Tensor) -> Tensor:
        batch, tokens, width = x_BPK.shape
        query, key, value = self.qkv(x_BPK).reshape(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value)
        return self.proj(attended.transpose(1, 2).reshape(batch, tokens, width))


class MLP(nn.Module):
    """Two layers on each token."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x_BPK: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x_BPK)))


class Block(nn.Module):
    """Attention and an MLP; in the second half what an earlier block gave is mixed in first."""

    def __init__(self, width: int, heads: int, skips: bool = False) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width), Attention(width, heads)
        self.norm2, self.mlp = nn.LayerNorm(width), MLP(width)
        if skips:
            self.skip_linear = nn.Linear(2 * width, width)

    def forward(self, x_BPK: Tensor, earlier_BPK: Tensor | None = None) -> Tensor:
        if earlier_BPK is not None:
            x_BPK = self.skip_linear(torch.cat([x_BPK, earlier_BPK], dim=-1))
        x_BPK = x_BPK + self.attn(self.norm1(x_BPK))
        return x_BPK + self.mlp(self.norm2(x_BPK))


class PatchEmbedding(nn.Module):
    """Patches to tokens."""

    def __init__(self, channels: int, width: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, patch, stride=patch)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)


class UViT(nn.Module):
    """Epsilon as U-ViT predicts it. The last layer is `decoder_pred`, linear on tokens, or `final_layer` behind it."""

    def __init__(self, settings: UViTSettings) -> None:
        super().__init__()
        require_divisible(settings.img_size, settings.patch_size, "img_size")
        require_divisible(settings.depth, 2, "depth")
        self.settings, width, heads = settings, settings.embed_dim, settings.num_heads
        patches = (settings.img_size // settings.patch_size) ** 2
        self.extras = 2 if settings.num_classes else 1
        self.patch_embed = PatchEmbedding(settings.in_chans, width, settings.patch_size)
        if settings.num_classes:
            self.label_emb = nn.Embedding(settings.num_classes, width)
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, self.extras + patches, width))
        half = settings.depth // 2
        self.in_blocks = nn.ModuleList([Block(width, heads) for _ in range(half)])
        self.mid_block = Block(width, heads)
        self.out_blocks = nn.ModuleList([Block(width, heads, skips=True) for _ in range(half)])
        self.norm = nn.LayerNorm(width)
        self.decoder_pred = nn.Linear(width, settings.patch_size**2 * settings.in_chans)
        channels = settings.in_chans
        self.final_layer = nn.Conv2d(channels, channels, 3, padding=1) if settings.conv else nn.Identity()

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """Epsilon in the shape of x (B, C, H, W), at timesteps t (B,) and classes y (B,)."""
        width = self.settings.embed_dim
        tokens = [sinusoids(t, width).to(self.pos_embed.dtype)[:, None], self.patch_embed(x)]
        if self.settings.num_classes:
            assert y is not None, "the null class has a number too"
            tokens.insert(0, self.label_emb(y)[:, None])
        h_BPK, kept = torch.cat(tokens, dim=1) + self.pos_embed, []
        for block in self.in_blocks:
            h_BPK = block(h_BPK)
            kept.append(h_BPK)
        h_BPK = self.mid_block(h_BPK)
        for block in self.out_blocks:
            h_BPK = block(h_BPK, kept.pop())
        # the tokens of time and class go before the last layer, whose data they else would be
        values_BPK = self.decoder_pred(self.norm(h_BPK)[:, self.extras :])
        return self.final_layer(self._image(values_BPK))

    def _image(self, values_BPK: Tensor) -> Tensor:
        """An image of its patches, whose values are in the order row, column, channel."""
        patch, side = self.settings.patch_size, self.settings.img_size // self.settings.patch_size
        values = values_BPK.reshape(len(values_BPK), side, side, patch, patch, self.settings.in_chans)
        return values.permute(0, 5, 1, 3, 2, 4).reshape(len(values_BPK), -1, side * patch, side * patch)
