"""The autoencoder around a process: identity for pixel models, a VAE or any diffusers autoencoder for latent ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from genuq.errors import ConfigurationError, has_numbers
from genuq.models.offloaded import execution_device
from genuq.networks import VAE
from genuq.randomness import generators, normal

PROBE_SIDE = 4  # of the latent that is decoded to see whether a decoder of diffusers' is deterministic


class Autoencoder(nn.Module):
    """Maps images (B, C, H, W) in [-1, 1] to latents of about unit variance, and back. Deterministic both ways."""

    @torch.no_grad()
    def check(self, image_shape: Sequence[int], latent_shape: Sequence[int]) -> None:
        """Decode one random latent twice, in evaluation mode and before any long work.

        Raises:
            ConfigurationError: the decoder draws noise, so that a sample would not be the same twice, or images of
                another shape than (C, H, W) = `image_shape` come out.
        """
        probe_shape = self.probe_shape(latent_shape)
        weight = next(self.parameters(), torch.empty(0))
        probe = normal(generators(0, [0], "autoencoder probe"), probe_shape).to(execution_device(self), weight.dtype)
        first, second = self.decode(probe), self.decode(probe)
        numbers = not first.is_meta  # of an outline there are none
        if numbers and not torch.allclose(first, second, rtol=1e-3, atol=1e-3, equal_nan=True):
            raise ConfigurationError(
                f"model.autoencoder: {self.title} draws noise as it decodes: the same latent gave images that differ "
                f"by {float((first - second).abs().max()):.3g}, and a sample would not be the same twice. Use a "
                "deterministic decoder (AutoencoderKL, AutoencoderTiny)."
            )
        made = _grown(tuple(first.shape[1:]), probe_shape, latent_shape)
        if made != tuple(image_shape):
            raise ConfigurationError(
                f"model.autoencoder: {self.title} makes latents of {tuple(latent_shape)} of images of "
                f"{tuple(image_shape)}, and images of {made} of these. Choose sides that are multiples of its "
                "reduction (data.image_size), and channels that it has."
            )

    @property
    def title(self) -> str:
        """What errors call it."""
        return type(self).__name__

    def probe_shape(self, latent_shape: Sequence[int]) -> tuple[int, ...]:
        """Shape of the latent that `check` decodes; a smaller one where the decoder is convolutional."""
        return tuple(latent_shape)

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
    """Any diffusers autoencoder (AutoencoderKL, AutoencoderTiny, ...), with latents normalised as it is configured.

    z = (raw - mean) / deviation * scaling, with `latents_mean` and `latents_std` of each channel, or `shift_factor` as
    the mean and a deviation of 1; `scaling_factor` is 1 where there is none. Batch-norm statistics (AutoencoderKLFlux2)
    are mean and deviation of the raw latent in 2x2 patches, each the channels of one position. One of video
    (AutoencoderKLQwenImage, AutoencoderKLWan) gets a single frame for an image (B, C, H, W), and all of a film
    (B, C, F, H, W), whose latents have frames too.

    Args:
        autoencoder: the diffusers module.
        channels: image channels of the data. One channel before an autoencoder of three is repeated, and the decoded
            three are averaged.
    """

    mean: Tensor | None
    deviation: Tensor | None

    def __init__(self, autoencoder: nn.Module, channels: int = 3) -> None:
        super().__init__()
        config: Any = getattr(autoencoder, "config", None)
        if config is None or not hasattr(autoencoder, "encode"):
            raise ConfigurationError(
                f"model.autoencoder: {type(autoencoder).__name__} has no .config or no .encode: give a diffusers one."
            )
        if hasattr(autoencoder, "_latents_mean"):
            raise ConfigurationError(
                f"model.autoencoder: {type(autoencoder).__name__} takes images in [0, 1] and normalises its latents "
                "itself. Wrap it in a genuq.models.Autoencoder of your own."
            )
        self.autoencoder: Any = autoencoder.eval()
        self.repeats = channels == 1 and getattr(config, "in_channels", 3) == 3
        self.films = any(isinstance(part, nn.Conv3d) for part in autoencoder.modules())
        norm = getattr(autoencoder, "bn", None)
        self.patch = int(config.patch_size[0]) if norm is not None else 1
        mean, deviation = (
            (_channels(autoencoder, config, key) for key in ("latents_mean", "latents_std"))
            if norm is None
            else _statistics(norm, float(config.batch_norm_eps))
        )
        self.scaling, self.shift = _factors(type(autoencoder).__name__, config, mean, deviation)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("deviation", deviation, persistent=False)

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
            loaded, told = kind.from_pretrained(path, use_safetensors=True, output_loading_info=True)
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"model.autoencoder.path = '{path}' could not be loaded ({str(error).splitlines()[0]}). Give a folder "
                "written by save_pretrained, or a hub name on a machine that reaches the hub."
            ) from error
        if told["missing_keys"]:  # diffusers draws them at random, with a warning
            raise ConfigurationError(
                f"model.autoencoder.class_name = '{class_name}', but the weights in {path} are of another class: "
                f"{len(told['missing_keys'])} of its tensors are not there, such as {sorted(told['missing_keys'])[0]}. "
                "Give the _class_name of its config.json."
            )
        return cls(loaded, channels)

    @torch.no_grad()
    def latent_shape(self, image_shape: Sequence[int]) -> tuple[int, ...]:
        device, dtype = execution_device(self.autoencoder), next(self.autoencoder.parameters()).dtype
        return tuple(self.encode(torch.zeros(1, *image_shape, device=device, dtype=dtype)).shape[1:])

    @property
    def title(self) -> str:
        return type(self.autoencoder).__name__

    def probe_shape(self, latent_shape: Sequence[int]) -> tuple[int, ...]:
        """A corner of the latent: diffusers' decoders are convolutional, and to decode a whole one takes long. All
        frames of a film, whose number does not grow as the sides do.
        """
        return (*latent_shape[:-2], *(min(side, PROBE_SIDE) for side in latent_shape[-2:]))

    def encode(self, images: Tensor) -> Tensor:
        given, alone = images.dtype, self.films and images.ndim == 4
        images = self._cast(images.expand(-1, 3, -1, -1) if self.repeats else images)
        raw = _latent(self.autoencoder.encode(images[:, :, None] if alone else images))
        raw = (raw[:, :, 0] if alone else raw).to(given)
        raw = raw if self.patch == 1 else pixel_unshuffle(raw, self.patch)
        if self.mean is None or self.deviation is None:
            return (raw - self.shift) * self.scaling
        if self.mean.numel() != raw.shape[1]:
            raise ConfigurationError(
                f"model.autoencoder: {self.title} makes latents of {raw.shape[1]} channels, but has "
                f"{self.mean.numel()} latents_mean. Correct its config.json."
            )
        return (raw - _over(self.mean, raw)) / _over(self.deviation, raw) * self.scaling

    def decode(self, latents: Tensor) -> Tensor:
        raw, alone = latents / self.scaling, self.films and latents.ndim == 4
        if self.mean is None or self.deviation is None:
            raw = raw + self.shift
        else:
            raw = raw * _over(self.deviation, raw) + _over(self.mean, raw)
        raw = raw if self.patch == 1 else pixel_shuffle(raw, self.patch)
        images = self.autoencoder.decode(self._cast(raw[:, :, None] if alone else raw)).sample
        images = (images[:, :, 0] if alone else images).to(latents.dtype)
        return images.mean(1, keepdim=True) if self.repeats else images

    def _cast(self, values: Tensor) -> Tensor:
        """In the autoencoder's own precision; latents and images keep theirs outside."""
        return values.to(next(self.autoencoder.parameters()).dtype)


def _factors(title: str, config: Any, mean: Tensor | None, deviation: Tensor | None) -> tuple[float, float]:
    """(scaling, shift) of the raw latents, 1 and 0 where the configuration has none.

    Raises:
        ConfigurationError: nothing says how the latents are normalised, or two things do.
    """
    scaling, shift = (getattr(config, key, None) for key in ("scaling_factor", "shift_factor"))
    if scaling is None and mean is None:
        raise ConfigurationError(
            f"model.autoencoder: the configuration of {title} has neither scaling_factor nor latents_mean, and genuq "
            "does not know how its latents are normalised. Wrap it in a genuq.models.Autoencoder of your own."
        )
    if (mean is None) != (deviation is None) or (mean is not None and shift):
        raise ConfigurationError(
            f"model.autoencoder: the configuration of {title} must have latents_mean and latents_std together, or "
            "shift_factor, or none of them."
        )
    for key, numbers in (("latents_mean", mean), ("latents_std", deviation)):
        if numbers is None or not has_numbers(numbers):
            continue
        if not (numbers.isfinite().all() and (key == "latents_mean" or (numbers > 0).all())):
            raise ConfigurationError(
                f"model.autoencoder: {key} of {title} is {numbers.flatten().tolist()}; it must be finite"
                f"{'' if key == 'latents_mean' else ' and above 0'}. Correct its config.json."
            )
    if mean is not None and deviation is not None and mean.shape != deviation.shape:
        raise ConfigurationError(
            f"model.autoencoder: {title} has {mean.numel()} latents_mean, but {deviation.numel()} latents_std. Correct "
            "its config.json."
        )
    return float(scaling or 1.0), float(shift or 0.0)


def _over(values_C: Tensor, raw: Tensor) -> Tensor:
    """Numbers of the channels, shaped for latents (B, C, ...)."""
    return values_C.to(raw).reshape(-1, *[1] * (raw.ndim - 2))


def _statistics(norm: Any, eps: float) -> tuple[Tensor, Tensor]:
    """(mean, deviation) of the channels, from the running statistics of a batch norm."""
    variance = norm.running_var.detach().float()
    return norm.running_mean.detach().float().clone(), (variance + eps).sqrt()


def _channels(autoencoder: nn.Module, config: Any, key: str) -> Tensor | None:
    """Numbers of the channels (C,) from the configuration, or from a buffer (AutoencoderKLLTXVideo)."""
    found = getattr(config, key, None)
    found = dict(autoencoder.named_buffers(recurse=False)).get(key) if found is None else found
    return None if found is None else torch.as_tensor(found, dtype=torch.float32).detach().flatten()


def _grown(probed: tuple[int, ...], probe: Sequence[int], latent: Sequence[int]) -> tuple[int, ...]:
    """Shape of an image decoded from a whole latent, from that decoded from a corner of it."""
    if tuple(probe) == tuple(latent):
        return probed
    return (probed[0], *(side * whole // part for side, part, whole in zip(probed[1:], probe[1:], latent[1:])))


def _latent(encoded: Any) -> Tensor:
    """The latent in what a diffusers encoder returns: a distribution's mode, `latents` (Tiny, VQ) or `latent` (DC)."""
    if hasattr(encoded, "latent_dist"):
        return encoded.latent_dist.mode()
    return encoded.latents if hasattr(encoded, "latents") else encoded.latent
