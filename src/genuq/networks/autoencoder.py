"""A small convolutional variational autoencoder (four-fold reduction) for latent diffusion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor, nn

from genuq.networks.layers import Width, group_norm, require_image
from genuq.parts.bounds import Items


def _stage(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1), group_norm(outputs), nn.SiLU()]


class VAE(nn.Module):
    """Encoder to a Gaussian over latents (latent_channels, H/4, W/4), decoder back to [-1, 1].

    Args:
        shape: (C, H, W) of the images.
        latent_channels: channels of the latent.
        channels: features of the hidden layers, fine then coarse.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent_channels: Width = 4,
        channels: Annotated[Sequence[Width], Items(2, 2)] = (32, 64),
    ) -> None:
        super().__init__()
        require_image(shape, 4)
        fine, coarse = channels
        self.latent_shape = (latent_channels, shape[1] // 4, shape[2] // 4)
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(2),
            *_stage(4 * shape[0], fine),
            *_stage(fine, fine),
            nn.PixelUnshuffle(2),
            *_stage(4 * fine, coarse),
            *_stage(coarse, coarse),
            nn.Conv2d(coarse, 2 * latent_channels, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(latent_channels, coarse, 3, padding=1),
            nn.SiLU(),
            *_stage(coarse, coarse),
            *_stage(coarse, 4 * fine),
            nn.PixelShuffle(2),
            *_stage(fine, fine),
            *_stage(fine, fine),
            nn.Conv2d(fine, 4 * shape[0], 3, padding=1),
            nn.PixelShuffle(2),
        )

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the latent of images (B, C, H, W)."""
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        return mean, log_variance.clamp(-20, 10)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)

    def loss(self, x: Tensor, noise: Tensor, kl_weight: float) -> Tensor:
        """Mean squared error of the reconstruction plus `kl_weight` times the mean KL to N(0, I), a value each."""
        mean, log_variance = self.encode(x)
        reconstruction = self.decode(mean + (0.5 * log_variance).exp() * noise)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
        return torch.nn.functional.mse_loss(reconstruction, x) + kl_weight * kl.mean()
