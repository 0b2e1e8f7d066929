"""Pixel maps: the standard deviation of every pixel of the image, from the moments of the final latent."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from torch import Tensor

from genuq.errors import ConfigurationError
from genuq.models import Autoencoder, GenerativeModel
from genuq.models.precision import precision_of
from genuq.parts.bounds import OneOf, Several, check_options
from genuq.propagators.derivatives import along
from genuq.randomness import generators, normal

METHODS = ("draws", "linear")
_STREAM = "pixel map"


@torch.no_grad()
def pixel_map(
    model: GenerativeModel,
    mean: Tensor,
    variance: Tensor,
    method: Annotated[str, OneOf(*METHODS)] = "draws",
    draws: Several = 16,
    seed: int = 0,
    indices: Sequence[int] | None = None,
    batch_size: int = 64,
) -> Tensor:
    """(N, C, H, W) float64 standard deviations in units of the image, whose range is [-1, 1].

    For pixel models the square root of V itself. For latent models what N(E[z_0], diag V[z_0]) becomes behind the
    decoder.

    Args:
        mean: E[z_0] (N, *latent_shape), as `propagate` gives it.
        variance: V[z_0], likewise.
        method: `draws` decodes draws from the normal distribution (BayesDiff); `linear` multiplies signs by the
            decoder's Jacobian: as many decodings and one more, the variance of the linearised decoder, no clipping.
        draws: of the latent, or sign vectors.
        seed: with the sample's index, keys the randomness.
        indices: of the samples; None: 0, 1, ...

    Raises:
        ConfigurationError: unknown method, fewer than two draws, or negative variances (of the `paper` propagator).
    """
    check_options(pixel_map, method=method, draws=draws)
    if bool((variance < 0).any()):
        raise ConfigurationError(
            f"{int((variance < 0).sum())} of {variance.numel()} variances are negative and have no standard deviation. "
            "Choose propagator=corrected, coherent or trajectory."
        )
    if type(model.autoencoder) is Autoencoder:
        return variance.double().sqrt()
    decoded = _drawn if method == "draws" else _linear
    sources = generators(seed, range(len(mean)) if indices is None else indices, _STREAM)
    parts = []
    for start in range(0, len(mean), batch_size):
        rows = slice(start, start + batch_size)
        noise = functools.partial(_noise, sources[rows], model)
        centre, deviation = (part[rows].to(model.device).float() for part in (mean, variance.sqrt()))
        parts.append(decoded(model.autoencoder, centre, deviation, noise, draws).cpu())
    return torch.cat(parts)


def _noise(sources: Sequence[torch.Generator], model: GenerativeModel) -> Tensor:
    return normal(sources, model.latent_shape).to(model.device)


def _drawn(
    autoencoder: Autoencoder, mean: Tensor, deviation: Tensor, noise: Callable[[], Tensor], draws: int
) -> Tensor:
    """Standard deviation over decoded draws, clipped as images are; centred."""
    images = [autoencoder.decode(mean + deviation * noise()).clamp(-1, 1).double() for _ in range(draws)]
    return torch.stack(images).std(0)


def _linear(
    autoencoder: Autoencoder, mean: Tensor, deviation: Tensor, noise: Callable[[], Tensor], draws: int
) -> Tensor:
    """sqrt(mean of (J sqrt(V) z)^2) over sign vectors z."""
    image = autoencoder.decode(mean)
    directions = (torch.where(noise() < 0, -deviation, deviation) for _ in range(draws))
    precision = precision_of(autoencoder)
    slopes = [along(autoencoder.decode, mean, image, direction, precision=precision) for direction in directions]
    return torch.stack(slopes).square().mean(0).sqrt()
