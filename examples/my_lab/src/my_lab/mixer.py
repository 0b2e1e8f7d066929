"""An MLP-Mixer of images, called as its authors call it; `Mixer` makes it f(x, t, y), as genuq calls networks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genuq.errors import ConfigurationError
from genuq.networks import NetworkPart


class PatchMixer(nn.Module):
    """Patches to tokens, layers that mix tokens and channels in turn, tokens to patches; the last layer is `pixels`.

    Args:
        shape: (C, H, W).
        classes: 0 means none; label `classes` means no class.
        patch: edge of a patch in pixels.
        width: channels of a token.
        depth: layers.
    """

    def __init__(self, shape: Sequence[int], classes: int, patch: int, width: int, depth: int) -> None:
        super().__init__()
        channels, height, width_pixels = shape
        tokens = (height // patch) * (width_pixels // patch)
        self.patch, self.classes, self.size = patch, classes, (height, width_pixels)
        self.entry = nn.Linear(channels * patch**2, width)
        self.place = nn.Parameter(torch.zeros(tokens, width))
        self.clock = nn.Sequential(nn.Linear(2, width), nn.SiLU(), nn.Linear(width, width))
        self.label = nn.Embedding(classes + 1, width) if classes else None
        self.layers = nn.ModuleList([MixerLayer(tokens, width) for _ in range(depth)])
        self.pixels = nn.Linear(width, channels * patch**2)

    def forward(self, images: Tensor, labels: Tensor | None = None, *, time: Tensor) -> Tensor:
        """Prediction for images (B, C, H, W), labels (B,) and times (B,) from 0 (data) to 1000 (noise)."""
        tokens = F.unfold(images, self.patch, stride=self.patch).mT
        angle = time[:, None].to(images) * torch.pi / 2000
        condition = self.clock(torch.cat([angle.sin(), angle.cos()], dim=1))
        if self.label is not None:
            none = torch.full((len(images),), self.classes, device=images.device)
            condition = condition + self.label(none if labels is None else labels)
        hidden = self.entry(tokens) + self.place + condition[:, None]
        for layer in self.layers:
            hidden = layer(hidden)
        return F.fold(self.pixels(hidden).mT, self.size, self.patch, stride=self.patch)


class MixerLayer(nn.Module):
    """Source: Tolstikhin et al. 2021, MLP-Mixer (arXiv 2105.01601), figure 1."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.across = nn.Sequential(nn.Linear(tokens, 2 * tokens), nn.GELU(), nn.Linear(2 * tokens, tokens))
        self.within = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.before_across, self.before_within = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, hidden_BTW: Tensor) -> Tensor:
        hidden_BTW = hidden_BTW + self.across(self.before_across(hidden_BTW).mT).mT
        return hidden_BTW + self.within(self.before_within(hidden_BTW))


class Mixer(nn.Module):
    """An MLP-Mixer of images, conditioned on time and class.

    Args:
        shape: (C, H, W) of an image; genuq gives it, and `num_classes`.
        num_classes: 0 means unconditional; otherwise class `num_classes` is the null class.
        patch: edge of a patch in pixels; it divides H and W.
        width: channels of a token.
        depth: layers.

    Raises:
        ConfigurationError: no images, or patches that do not fit.
    """

    def __init__(
        self, shape: Sequence[int], num_classes: int = 0, patch: int = 4, width: int = 64, depth: int = 3
    ) -> None:
        super().__init__()
        if len(shape) != 3 or any(size % patch for size in shape[1:]):
            raise ConfigurationError(f"network.patch = {patch} does not divide samples of shape {tuple(shape)}.")
        self.mixer = PatchMixer(shape, num_classes, patch, width, depth)

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """Prediction at x (B, C, H, W), times t (B,) in [0, 1], classes y (B,)."""
        return self.mixer(x, y, time=1000 * t)


PART = NetworkPart.of(Mixer, label="MLP-Mixer", needs_images=True)
