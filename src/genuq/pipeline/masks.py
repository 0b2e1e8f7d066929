"""The pixels that an image score counts, from an image file: white ones count."""

from __future__ import annotations

import os
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from genuq.data.folder import opened_image
from genuq.errors import ConfigurationError, DataError
from genuq.pipeline.configured import architecture_of, is_image, training_set
from genuq.pipeline.run import Run

KEY = "propagator.mask"


def score_mask(run: Run) -> Tensor | None:
    """bool (1, h, w) on the latents, or None where all count.

    Raises:
        ConfigurationError: no images, no such file, another size, or nothing selected.
    """
    path = run.config.propagator.mask
    if path is None:
        return None
    if not is_image(run):
        raise ConfigurationError(f"{KEY} = '{path}' needs images, not {training_set(run).name}; set it to null.")
    model = architecture_of(run)
    return mask_of(path, tuple(model.latent_shape), tuple(model.shape))


def mask_of(path: str | Path, latent_shape: tuple[int, ...], image_shape: tuple[int, ...]) -> Tensor:
    """bool (1, h, w) on the latents. A mask of the images' size counts a latent where any pixel is at least half white.

    Args:
        path: image file, white where a pixel counts.
        latent_shape, image_shape: (C, H, W), one of whose sizes the file has.

    Raises:
        ConfigurationError: no such file, another size, or nothing selected.
    """
    white_1HW, latent, image = _white(path), latent_shape[-2:], image_shape[-2:]
    if tuple(white_1HW.shape[-2:]) not in (latent, image):
        sizes = " or ".join(f"{w} x {h}" for h, w in dict.fromkeys((image, latent)))
        raise ConfigurationError(
            f"{KEY} = '{path}' is {white_1HW.shape[2]} x {white_1HW.shape[1]} pixels; it must be {sizes}."
        )
    mask_1HW = F.adaptive_max_pool2d(white_1HW, latent) >= 0.5
    if not mask_1HW.any():
        raise ConfigurationError(f"{KEY} = '{path}' selects nothing: paint the pixels that count white.")
    return mask_1HW


def _white(given: str | Path) -> Tensor:
    """(1, H, W), 0 black to 1 white."""
    from torchvision.transforms.functional import to_tensor  # slow to import

    path = Path(given).expanduser()
    if not os.path.isfile(path):
        raise ConfigurationError(f"{KEY} = '{given}' does not exist. Give an image file, white where a pixel counts.")
    try:
        with opened_image(path) as image:
            return torch.as_tensor(to_tensor(image.convert("L")))
    except DataError as error:
        raise ConfigurationError(f"{KEY}: {error}") from error
