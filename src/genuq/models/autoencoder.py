"""The autoencoder around a process: identity for pixel models, a VAE or any diffusers autoencoder for latent ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from genuq.errors import ConfigurationError
from genuq.networks import VAE


class Autoencoder(nn.Module):
    """Maps images (B, C, H, W) in [-1, 1] to latents of about unit variance, and back. Deterministic both ways."""

    def latent_shape(self, image_shape: Sequence[int]) -> tuple[int, ...]:
        return tuple(image_shape)

    def encode(self, images: Tensor) -> Tensor:
        return images

    def decode(self, latents: Tensor) -> Tensor:
        return latents


class VAEAutoencoder(Autoencoder):
    """Our VAE; latents are its posterior means divided by their standard deviation over the training data."""

    scale: Tensor

    def __init__(self, vae: VAE) -> None:
        super().__init__()
        self.vae = vae
        self.register_buffer("scale", torch.ones(()))

    def latent_shape(self, image_shape: Sequence[int]) -> tuple[int, ...]:
        return tuple(self.vae.latent_shape)

    def encode(self, images: Tensor) -> Tensor:
        return self.vae.encode(images)[0] / self.scale

    def decode(self, latents: Tensor) -> Tensor:
        return self.vae.decode(latents * self.scale)


class DiffusersAutoencoder(Autoencoder):
    """Any diffusers autoencoder (AutoencoderKL, AutoencoderTiny, ...), with its own scaling and shift factors.

    Args:
        autoencoder: the diffusers module.
        channels: image channels of the data. One channel before an autoencoder of three is repeated, and the decoded
            three are averaged.
    """

    def __init__(self, autoencoder: nn.Module, channels: int = 3) -> None:
        super().__init__()
        config: Any = getattr(autoencoder, "config", None)
        if config is None or not hasattr(autoencoder, "encode"):
            raise ConfigurationError(
                f"model.autoencoder: {type(autoencoder).__name__} has no .config or no .encode: give a diffusers one."
            )
        self.autoencoder: Any = autoencoder.eval()
        self.repeats = channels == 1 and getattr(config, "in_channels", 3) == 3
        self.scaling = float(getattr(config, "scaling_factor", None) or 1.0)
        self.shift = float(getattr(config, "shift_factor", None) or 0.0)

    @classmethod
    def from_pretrained(cls, path: str, class_name: str = "AutoencoderKL", channels: int = 3) -> DiffusersAutoencoder:
        """Load from a folder made by `save_pretrained`, or by hub name (safetensors only).

        Raises:
            ConfigurationError: unknown class, or weights that cannot be found.
        """
        import diffusers

        kind = getattr(diffusers, class_name, None)
        if kind is None or not class_name.startswith(("Autoencoder", "Asymmetric", "VQ", "Consistency")):
            raise ConfigurationError(f"model.autoencoder.class_name = '{class_name}' is not a diffusers autoencoder.")
        try:
            return cls(kind.from_pretrained(path, use_safetensors=True), channels)
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"model.autoencoder.path = '{path}' could not be loaded ({str(error).splitlines()[0]}). Give a folder "
                "written by save_pretrained, or a hub name on a machine that reaches the hub."
            ) from error

    @torch.no_grad()
    def latent_shape(self, image_shape: Sequence[int]) -> tuple[int, ...]:
        weight = next(self.autoencoder.parameters())
        return tuple(self.encode(torch.zeros(1, *image_shape).to(weight)).shape[1:])

    def encode(self, images: Tensor) -> Tensor:
        encoded = self.autoencoder.encode(images.expand(-1, 3, -1, -1) if self.repeats else images)
        return (_latent(encoded) - self.shift) * self.scaling

    def decode(self, latents: Tensor) -> Tensor:
        images = self.autoencoder.decode(latents / self.scaling + self.shift).sample
        return images.mean(1, keepdim=True) if self.repeats else images


def _latent(encoded: Any) -> Tensor:
    """The latent in what a diffusers encoder returns: a distribution's mode, `latents` (Tiny, VQ) or `latent` (DC)."""
    if hasattr(encoded, "latent_dist"):
        return encoded.latent_dist.mode()
    return encoded.latents if hasattr(encoded, "latents") else encoded.latent
