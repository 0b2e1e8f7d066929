"""The U-Net of ADM, and the noisy classifier that guides it, with the names of weights of the released files.

Source: Dhariwal & Nichol 2021, "Diffusion Models Beat GANs on Image Synthesis"; the settings are called as the options
of guided-diffusion are, and keys of the state dictionary as in its files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genuq.networks.layers import Depth, Width, require_divisible, sinusoids
from genuq.parts.bounds import Count, Positive, Rate, WholeNumber

GROUPS = 32  # of every norm


@dataclass(frozen=True, kw_only=True)
class ADMSettings:
    """What an ADM network is made of.

    Attributes:
        image_size: side of the square images.
        model_channels: features at a multiple of one.
        channel_mult: multiples of `model_channels`, one a level; each level has half the side of the last.
        num_res_blocks: residual blocks a level.
        attention_resolutions: factors of reduction at which blocks attend: 4 is a quarter of the image's side.
        num_heads, num_head_channels: of attention; the second counts unless it is -1.
        num_classes: 0: unconditional. There is no null class.
        out_channels: twice the image's where the variance is learned.
        use_scale_shift_norm: whether time and class scale and shift the second norm, or are added before it.
        resblock_updown: whether residual blocks change the side, or a convolution does.
        use_new_attention_order: whether queries, keys and values are split before the heads, or heads first.
        dropout: of training.
        in_channels: of the images.
    """

    image_size: Count
    model_channels: Width
    channel_mult: Sequence[Positive]
    num_res_blocks: Depth
    attention_resolutions: Sequence[Count]
    num_heads: Count = 4
    num_head_channels: int = -1
    num_classes: WholeNumber = 0
    out_channels: Count = 6
    use_scale_shift_norm: bool = True
    resblock_updown: bool = True
    use_new_attention_order: bool = False
    dropout: Rate = 0.0
    in_channels: Count = 3

    def heads_of(self, channels: int) -> int:
        """How many heads attend over so many channels."""
        if self.num_head_channels == -1:
            return self.num_heads
        require_divisible(channels, self.num_head_channels, "channels of an attention block")
        return channels // self.num_head_channels


class Downsample(nn.Module):
    """Half the side by a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


class Upsample(nn.Module):
    """Twice the side, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0))


class ResidualBlock(nn.Module):
    """Norm, SiLU, convolution, twice; time and class enter between the two.

    Args:
        factor: of the side: 1, 2 or 0.5, which is taken behind the first norm and on the way around.
    """

    def __init__(self, settings: ADMSettings, inputs: int, outputs: int, factor: float = 1.0) -> None:
        super().__init__()
        self.modulates, self.factor = settings.use_scale_shift_norm, factor
        embedding = 4 * settings.model_channels
        self.in_layers = nn.Sequential(_norm(inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, outputs * (2 if self.modulates else 1)))
        self.out_layers = nn.Sequential(
            _norm(outputs),
            nn.SiLU(),
            nn.Dropout(settings.dropout),
            nn.Conv2d(outputs, outputs, 3, padding=1),
        )
        self.skip_connection = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.in_layers[2](self._resized(self.in_layers[:2](x)))
        told = self.emb_layers(embedding)[:, :, None, None]
        if self.modulates:
            scale, shift = told.chunk(2, dim=1)
            h = self.out_layers[1:](self.out_layers[0](h) * (1 + scale) + shift)
        else:
            h = self.out_layers(h + told)
        return self.skip_connection(self._resized(x)) + h

    def _resized(self, x: Tensor) -> Tensor:
        if self.factor == 1:
            return x
        return F.avg_pool2d(x, 2) if self.factor < 1 else F.interpolate(x, scale_factor=2.0)


class AttentionBlock(nn.Module):
    """Self-attention over all positions, with a way around."""

    def __init__(self, settings: ADMSettings, channels: int) -> None:
        super().__init__()
        self.heads, self.split_first = settings.heads_of(channels), settings.use_new_attention_order
        self.norm = _norm(channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)
        attended = attend(self.qkv(self.norm(flat)), self.heads, self.split_first)
        return (flat + self.proj_out(attended)).reshape(x.shape)


def attend(qkv: Tensor, heads: int, split_first: bool) -> Tensor:
    """Attention over positions.

    Args:
        qkv: (B, 3 C, positions).
        heads: a factor of C.
        split_first: channels are (query, key, value), each by heads; else heads, each of (query, key, value).

    Returns:
        (B, C, positions).
    """
    batch, channels, positions = qkv.shape
    if split_first:
        parts = qkv.reshape(batch, 3, heads, -1, positions).unbind(1)
    else:
        parts = qkv.reshape(batch, heads, 3, -1, positions).unbind(2)
    query, key, value = (part.transpose(-1, -2) for part in parts)
    attended = F.scaled_dot_product_attention(query, key, value)
    return attended.transpose(-1, -2).reshape(batch, channels // 3, positions)


class Layers(nn.Sequential):
    """Layers in turn, of which residual blocks are told of time and class."""

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:  # type: ignore[override]
        for layer in self:
            x = layer(x, embedding) if isinstance(layer, ResidualBlock) else layer(x)
        return x


class Encoder(nn.Module):
    """The contracting half, which the U-Net and the classifier have in common.

    Attributes:
        widths: channels behind each of the `input_blocks`, which the other half reads.
        channels, reduction: at the end of the middle block.
    """

    def __init__(self, settings: ADMSettings) -> None:
        super().__init__()
        self.settings, width = settings, settings.model_channels
        self.time_embed = nn.Sequential(nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, 4 * width))
        first = self._width(0)
        self.input_blocks = nn.ModuleList([Layers(nn.Conv2d(settings.in_channels, first, 3, padding=1))])
        self.widths, self.channels, self.reduction = [first], first, 1
        for level in range(len(settings.channel_mult)):
            for _ in range(settings.num_res_blocks):
                self._append(*self._block(self.channels, self._width(level)))
            if level < len(settings.channel_mult) - 1:
                self._append(self._resampled(0.5))
                self.reduction *= 2
        ends = [ResidualBlock(settings, self.channels, self.channels) for _ in range(2)]
        self.middle_block = Layers(ends[0], AttentionBlock(settings, self.channels), ends[1])

    def _width(self, level: int) -> int:
        return int(self.settings.channel_mult[level] * self.settings.model_channels)

    def _block(self, inputs: int, outputs: int) -> list[nn.Module]:
        """A residual block, with attention where this side has it."""
        self.channels = outputs
        block: list[nn.Module] = [ResidualBlock(self.settings, inputs, outputs)]
        if self.reduction in self.settings.attention_resolutions:
            block.append(AttentionBlock(self.settings, outputs))
        return block

    def _append(self, *layers: nn.Module) -> None:
        self.input_blocks.append(Layers(*layers))
        self.widths.append(self.channels)

    def _resampled(self, factor: float) -> nn.Module:
        if self.settings.resblock_updown:
            return ResidualBlock(self.settings, self.channels, self.channels, factor)
        return Downsample(self.channels) if factor < 1 else Upsample(self.channels)

    def embedded(self, t_B: Tensor) -> Tensor:
        """What blocks are told of the time."""
        features = sinusoids(t_B, self.settings.model_channels)
        return self.time_embed(features.to(next(self.time_embed.parameters()).dtype))

    def contracted(self, x: Tensor, embedding: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(behind the middle block, behind each of the input blocks)."""
        kept = []
        for block in self.input_blocks:
            x = block(x, embedding)
            kept.append(x)
        return self.middle_block(x, embedding), kept


class ADM(Encoder):
    """The U-Net; its output is epsilon and, where the variance is learned, as many channels that say it.

    The last layer is `out.2`.
    """

    def __init__(self, settings: ADMSettings) -> None:
        super().__init__(settings)
        if settings.num_classes:
            self.label_emb = nn.Embedding(settings.num_classes, 4 * settings.model_channels)
        self.output_blocks = nn.ModuleList()
        widths = list(self.widths)
        for level in reversed(range(len(settings.channel_mult))):
            for block in range(settings.num_res_blocks + 1):
                layers = self._block(self.channels + widths.pop(), self._width(level))
                if level and block == settings.num_res_blocks:
                    layers.append(self._resampled(2.0))
                    self.reduction //= 2
                self.output_blocks.append(Layers(*layers))
        last = nn.Conv2d(self.channels, settings.out_channels, 3, padding=1)
        self.out = nn.Sequential(_norm(self.channels), nn.SiLU(), last)

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """Epsilon, then the variance, (B, out_channels, H, W), at x (B, C, H, W), timesteps t (B,) from 0 to 999, and
        classes y (B,).
        """
        embedding = self.embedded(t)
        if self.settings.num_classes:
            assert y is not None, "a class-conditional ADM has no null class"
            embedding = embedding + self.label_emb(y)
        x, kept = self.contracted(x, embedding)
        for block in self.output_blocks:
            x = block(torch.cat([x, kept.pop()], dim=1), embedding)
        return self.out(x)


class AttentionPool(nn.Module):
    """What the mean of all positions attends to among them."""

    def __init__(self, side: int, channels: int, heads: int, outputs: int) -> None:
        super().__init__()
        self.heads = heads
        self.positional_embedding = nn.Parameter(torch.randn(channels, side**2 + 1) / math.sqrt(channels))
        self.qkv_proj = nn.Conv1d(channels, 3 * channels, 1)
        self.c_proj = nn.Conv1d(channels, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)
        tokens = torch.cat([flat.mean(-1, keepdim=True), flat], dim=-1) + self.positional_embedding
        return self.c_proj(attend(self.qkv_proj(tokens), self.heads, split_first=True)[..., :1])[..., 0]


class ADMClassifier(Encoder):
    """The classifier of noised images: log p(y | x_t) up to a constant."""

    def __init__(self, settings: ADMSettings) -> None:
        super().__init__(settings)
        side, heads = settings.image_size // self.reduction, settings.heads_of(self.channels)
        pool = AttentionPool(side, self.channels, heads, settings.out_channels)
        self.out = nn.Sequential(_norm(self.channels), nn.SiLU(), pool)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Logits (B, out_channels) of images x (B, C, H, W) at timesteps t (B,)."""
        return self.out(self.contracted(x, self.embedded(t))[0])


def _norm(channels: int) -> nn.GroupNorm:
    require_divisible(channels, GROUPS, "model_channels times an entry of channel_mult")
    return nn.GroupNorm(GROUPS, channels)
