"""The magnitude-preserving U-Net of EDM2 with its preconditioning, with the names of weights of its own code.

Every layer stores its weight at any size and uses it at one (forced weight normalisation); a posterior is over weights
that are used, so that `genuq.models.edm2` stores these.
Source: Karras et al. 2024, "Analyzing and Improving the Training Dynamics of Diffusion Models", configuration G.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genuq.networks.layers import Depth, Width, require_divisible
from genuq.parts.bounds import Count, Rate, WholeNumber

EPS = 1e-4  # of every normalisation
SIGMA_DATA = 0.5  # of the data that the published networks are preconditioned for


@dataclass(frozen=True, kw_only=True)
class EDM2Settings:
    """What an EDM2 network is made of.

    Attributes:
        img_resolution: side of what it denoises: of the latent, where there is one.
        img_channels: of what it denoises.
        model_channels: features at a multiple of one.
        label_dim: classes; 0: none.
        channel_mult: multiples of `model_channels`, one a level; each level has half the side of the last.
        num_blocks: blocks a level of the contracting half; the other has one more.
        attn_resolutions: sides at which blocks attend.
        channels_per_head: of attention.
        logvar_channels: features that u(sigma) is told of.
        dropout: of training.
    """

    img_resolution: Count
    img_channels: Count
    model_channels: Width
    label_dim: WholeNumber = 1000
    channel_mult: Sequence[Count] = (1, 2, 3, 4)
    num_blocks: Depth = 3
    attn_resolutions: Sequence[Count] = (16, 8)
    channels_per_head: Count = 64
    logvar_channels: Width = 128
    dropout: Rate = 0.0


def normalised(x: Tensor, over: Sequence[int]) -> Tensor:
    """x with root mean square one over some axes."""
    fine = torch.promote_types(x.dtype, torch.float32)
    norm = torch.linalg.vector_norm(x, dim=list(over), keepdim=True, dtype=fine)
    return x / (EPS + norm * math.sqrt(norm.numel() / x.numel())).to(x.dtype)


def silu(x: Tensor) -> Tensor:
    """SiLU that keeps the magnitude of Gaussian input."""
    return F.silu(x) / 0.596


def blend(a: Tensor, b: Tensor, share: float) -> Tensor:
    """(1 - share) a + share b at the magnitude that both have, where they are unrelated."""
    return a.lerp(b, share) / math.sqrt((1 - share) ** 2 + share**2)


def joined(a: Tensor, b: Tensor, share: float = 0.5) -> Tensor:
    """a and b along the channels, so that each gives its share whatever its width, at the magnitude that both have."""
    widths, parts = (a.shape[1], b.shape[1]), (1 - share, share)
    whole = math.sqrt(sum(widths) / (parts[0] ** 2 + parts[1] ** 2))
    return torch.cat([x * (whole / math.sqrt(width) * part) for x, width, part in zip((a, b), widths, parts)], dim=1)


class Fourier(nn.Module):
    """Cosines of random frequencies and phases, which the files keep."""

    freqs: Tensor
    phases: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("freqs", 2 * math.pi * torch.randn(channels))
        self.register_buffer("phases", 2 * math.pi * torch.rand(channels))

    def forward(self, x_B: Tensor) -> Tensor:
        return (x_B.float()[:, None] * self.freqs.float() + self.phases.float()).cos() * math.sqrt(2)


class NormalisedLayer(nn.Module):
    """A convolution, or a matrix product where it has no sides, whose weight is normalised in every pass.

    Args:
        sides: of the kernel.
    """

    def __init__(self, inputs: int, outputs: int, sides: Sequence[int] = ()) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, *sides))

    def used(self, gain: Tensor | float = 1.0) -> Tensor:
        """The weight that a pass with this gain uses, float32 or finer."""
        weight = self.weight.to(torch.promote_types(self.weight.dtype, torch.float32))
        axes = range(1, weight.ndim)
        return normalised(weight, axes) * (gain / math.sqrt(weight[0].numel()))

    def forward(self, x: Tensor, gain: Tensor | float = 1.0) -> Tensor:
        if self.training:
            with torch.no_grad():
                self.weight.copy_(normalised(self.weight.float(), range(1, self.weight.ndim)))
        weight = self.used(gain).to(x.dtype)
        return F.linear(x, weight) if weight.ndim == 2 else F.conv2d(x, weight, padding=weight.shape[-1] // 2)


class Block(nn.Module):
    """A residual block of the encoder or the decoder, with attention where it has heads.

    Args:
        decodes: the decoder's, which reads the input of another width before its first convolution.
        factor: of the side: 1, 2 or 0.5.
    """

    def __init__(
        self,
        settings: EDM2Settings,
        inputs: int,
        outputs: int,
        decodes: bool = False,
        factor: float = 1.0,
        attends: bool = False,
    ) -> None:
        super().__init__()
        self.decodes, self.factor, self.dropout, self.out_channels = decodes, factor, settings.dropout, outputs
        embedding, heads = settings.model_channels * max(settings.channel_mult), 0
        if attends:
            require_divisible(outputs, settings.channels_per_head, "channels of an attention block")
            heads = outputs // settings.channels_per_head
        self.heads = heads
        self.emb_gain = nn.Parameter(torch.zeros([]))
        self.conv_res0 = NormalisedLayer(inputs if decodes else outputs, outputs, (3, 3))
        self.emb_linear = NormalisedLayer(embedding, outputs)
        self.conv_res1 = NormalisedLayer(outputs, outputs, (3, 3))
        self.conv_skip = NormalisedLayer(inputs, outputs, (1, 1)) if inputs != outputs else None
        self.attn_qkv = NormalisedLayer(outputs, 3 * outputs, (1, 1)) if heads else None
        self.attn_proj = NormalisedLayer(outputs, outputs, (1, 1)) if heads else None

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        x = self._resized(x)
        if not self.decodes:
            x = normalised(x if self.conv_skip is None else self.conv_skip(x), [1])
        told = self.emb_linear(embedding, gain=self.emb_gain) + 1
        h = silu(self.conv_res0(silu(x)) * told[:, :, None, None].to(x.dtype))
        h = self.conv_res1(F.dropout(h, self.dropout, self.training))
        if self.decodes and self.conv_skip is not None:
            x = self.conv_skip(x)
        x = self._attending(blend(x, h, 0.3))
        return x.clamp(-256, 256)

    def _resized(self, x: Tensor) -> Tensor:
        if self.factor == 1:
            return x
        return F.avg_pool2d(x, 2) if self.factor < 1 else F.interpolate(x, scale_factor=2.0)

    def _attending(self, x: Tensor) -> Tensor:
        """Cosine attention: queries, keys and values are normalised."""
        if self.attn_qkv is None or self.attn_proj is None:
            return x
        qkv = self.attn_qkv(x).reshape(len(x), self.heads, -1, 3, x.shape[2] * x.shape[3])
        query, key, value = (part.transpose(-1, -2) for part in normalised(qkv, [2]).unbind(3))
        attended = F.scaled_dot_product_attention(query, key, value).transpose(-1, -2)
        return blend(x, self.attn_proj(attended.reshape(x.shape)), 0.3)


class UNet(nn.Module):
    """F(c_in x, c_noise, class). The last layer is `out_conv`, times `out_gain`."""

    def __init__(self, settings: EDM2Settings) -> None:
        super().__init__()
        self.settings = settings
        widths = [settings.model_channels * multiple for multiple in settings.channel_mult]
        self.out_gain = nn.Parameter(torch.zeros([]))
        self.emb_fourier = Fourier(widths[0])
        self.emb_noise = NormalisedLayer(widths[0], max(widths))
        self.emb_label = NormalisedLayer(settings.label_dim, max(widths)) if settings.label_dim else None
        self.enc, self.dec = nn.ModuleDict(), nn.ModuleDict()
        kept = self._encoder(widths)
        self._decoder(widths, kept)
        self.out_conv = NormalisedLayer(widths[0], settings.img_channels, (3, 3))

    def _encoder(self, widths: Sequence[int]) -> list[int]:
        """Fills `enc`; the channels behind each of its entries."""
        made, kept, last = self.settings, [widths[0]], widths[0]
        self.enc[f"{self._side(0)}_conv"] = NormalisedLayer(made.img_channels + 1, last, (3, 3))
        for level, width in enumerate(widths):
            if level:
                self.enc[f"{self._side(level)}_down"] = Block(made, last, last, factor=0.5)
                kept.append(last)
            for number in range(made.num_blocks):
                block = Block(made, last, width, attends=self._attends(level))
                self.enc[f"{self._side(level)}_block{number}"], last = block, width
                kept.append(last)
        return kept

    def _decoder(self, widths: Sequence[int], kept: list[int]) -> None:
        made, last = self.settings, widths[-1]
        for level, width in reversed(list(enumerate(widths))):
            side = self._side(level)
            if level == len(widths) - 1:
                self.dec[f"{side}_in0"] = Block(made, last, last, decodes=True, attends=True)
                self.dec[f"{side}_in1"] = Block(made, last, last, decodes=True)
            else:
                self.dec[f"{side}_up"] = Block(made, last, last, decodes=True, factor=2.0)
            for number in range(made.num_blocks + 1):
                block = Block(made, last + kept.pop(), width, decodes=True, attends=self._attends(level))
                self.dec[f"{side}_block{number}"], last = block, width

    def _side(self, level: int) -> str:
        side = self.settings.img_resolution >> level
        return f"{side}x{side}"

    def _attends(self, level: int) -> bool:
        return self.settings.img_resolution >> level in self.settings.attn_resolutions

    def forward(self, x: Tensor, c_noise_B: Tensor, labels: Tensor | None = None) -> Tensor:
        """F at c_in x (B, C, H, W), c_noise = ln(sigma) / 4 (B,), one-hot classes (B, label_dim), noughts for none."""
        embedding = self.emb_noise(self.emb_fourier(c_noise_B).to(x.dtype))
        if self.emb_label is not None:
            assert labels is not None, "no class is a row of noughts"
            told = self.emb_label(labels.to(x.dtype) * math.sqrt(labels.shape[1]))
            embedding = blend(embedding, told, 0.5)
        embedding = silu(embedding)
        x, kept = torch.cat([x, torch.ones_like(x[:, :1])], dim=1), []
        for block in self.enc.values():
            x = block(x, embedding) if isinstance(block, Block) else block(x)
            kept.append(x)
        for name, block in self.dec.items():
            x = block(joined(x, kept.pop()) if "block" in name else x, embedding)
        return self.out_conv(x, gain=self.out_gain)


class EDM2(nn.Module):
    """The denoiser D(x, sigma, class), and what it is told to be uncertain of, u(sigma)."""

    def __init__(self, settings: EDM2Settings) -> None:
        super().__init__()
        self.settings, self.label_dim = settings, settings.label_dim
        self.unet = UNet(settings)
        self.logvar_fourier = Fourier(settings.logvar_channels)
        self.logvar_linear = NormalisedLayer(settings.logvar_channels, 1)

    def forward(self, x: Tensor, sigma_B: Tensor, labels: Tensor | None = None) -> Tensor:
        """D (B, C, H, W) at noised data x (B, C, H, W) of noises sigma (B,) and one-hot classes (B, label_dim).

        Source: equation 7 of Karras et al. 2022.
        """
        sigma = sigma_B.float().reshape(-1, 1, 1, 1)
        norm = (sigma.square() + SIGMA_DATA**2).sqrt()
        if self.label_dim and labels is None:
            labels = torch.zeros(1, self.label_dim, device=x.device)
        inner = self.unet((x / norm).to(x.dtype), sigma.flatten().log() / 4, labels)
        return (SIGMA_DATA / norm).square() * x + (sigma * SIGMA_DATA / norm) * inner

    def log_variance(self, sigma_B: Tensor) -> Tensor:
        """u(sigma) (B,), the logarithm of the loss that its training expects at each noise. No posterior reads it."""
        waves = self.logvar_fourier(sigma_B.float().log() / 4)
        return self.logvar_linear(waves.to(self.logvar_linear.weight.dtype))[:, 0]
