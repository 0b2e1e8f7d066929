"""A small denoiser D(x, sigma) of the kind of EDM2: every layer normalises its weight anew in each pass.

Source: Karras et al. 2024, "Analyzing and Improving the Training Dynamics of Diffusion Models", sections 2.3 to 2.5.
"""

from __future__ import annotations

import math
from typing import Any

import diffusers
import torch
from torch import Tensor, nn
from torch.nn import functional

from genuq.pretrained import PretrainedModel, from_network
from support.small_pipelines import seeded

SHAPE, DATA = (3, 8, 8), 0.5


def unit_rows(weight: Tensor) -> Tensor:
    """Each output's weights at root mean square one."""
    norm = weight.flatten(1).norm(dim=1).reshape(-1, *[1] * (weight.ndim - 1))
    return weight * (math.sqrt(weight[0].numel()) / (norm + 1e-4))


class Normalised(nn.Module):
    """A convolution, or a matrix product, with a weight that is stored at any size and used at one."""

    def __init__(self, inputs: int, outputs: int, *sides: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, *sides))

    def forward(self, x: Tensor, gain: Any = 1) -> Tensor:
        if self.training:
            with torch.no_grad():
                self.weight.copy_(unit_rows(self.weight))
        used = (unit_rows(self.weight.float()) * (gain / math.sqrt(self.weight[0].numel()))).to(x.dtype)
        if used.ndim == 2:
            return x @ used.t()
        return functional.conv2d(x, used, padding=used.shape[-1] // 2)


class Inner(nn.Module):
    """F(x, c_noise, class): the weights of its layers change with no input, their gains neither."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.frequencies: Tensor
        self.register_buffer("frequencies", 2 * math.pi * torch.randn(8))
        self.of_noise, self.of_class = Normalised(8, 8), Normalised(classes, 8)
        self.first, self.middle, self.emb = Normalised(4, 8, 3, 3), Normalised(8, 8, 3, 3), Normalised(8, 8)
        self.emb_gain, self.out_gain = nn.Parameter(torch.tensor(0.6)), nn.Parameter(torch.tensor(0.8))
        self.last = Normalised(8, 3, 3, 3)

    def forward(self, x: Tensor, told: Tensor, labels: Tensor) -> Tensor:
        waves = (told[:, None] * self.frequencies).cos() * math.sqrt(2)
        emb = functional.silu(self.of_noise(waves) + self.of_class(labels))
        hidden = self.first(torch.cat([x, torch.ones_like(x[:, :1])], 1))
        hidden = hidden * (1 + self.emb(emb, gain=self.emb_gain))[:, :, None, None]
        hidden = hidden + self.middle(functional.silu(hidden))
        return self.last(hidden, gain=self.out_gain)


class MagnitudePreserving(nn.Module):
    """D(x, sigma, class), and on request what it takes the logarithm of its variance for, u(sigma).

    Args:
        uncertain: whether every answer is (D, u).
    """

    label_dim = 4

    def __init__(self, uncertain: bool = False) -> None:
        super().__init__()
        self.unet, self.logvar, self.uncertain = Inner(self.label_dim), Normalised(8, 1), uncertain

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor) -> Any:
        sigma = sigma.reshape(-1, 1, 1, 1).to(x.dtype)
        norm = (sigma**2 + DATA**2).sqrt()
        inner = self.unet(x / norm, sigma.flatten().log() / 4, labels)
        denoised = DATA**2 / norm**2 * x + sigma * DATA / norm * inner
        told = self.logvar(functional.silu(sigma.flatten(1).log() * torch.ones_like(inner[:, 0, 0, :])))
        return (denoised, told.reshape(-1, 1, 1, 1)) if self.uncertain else denoised


@seeded
def magnitude_preserving(**options: Any) -> nn.Module:
    return MagnitudePreserving(**options).eval()


def denoiser(network: nn.Module | None = None, **options: Any) -> PretrainedModel:
    """One as a model."""
    made = magnitude_preserving() if network is None else network
    return from_network(
        made, diffusers.EDMEulerScheduler(), SHAPE, num_classes=4, denoises=True, **{"steps": 4, **options}
    )
