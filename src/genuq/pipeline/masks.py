"""The pixels that an image score counts, from an image file: white ones count."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import functional as transforms

from genuq.data.folder import opened_image
from genuq.errors import ConfigurationError, DataError
from genuq.pipeline.run import Run

KEY = "propagator.mask"


def score_mask(run: Run) -> Tensor | None:
    """bool (1, h, w) on the latents, or None where all count.

    A mask of the images' size counts a latent where any of its pixels is at least half white.

    Raises:
        ConfigurationError: no images, no such file, another size, or nothing selected.
    """
    settings = run.config.propagator.mask
    if settings is None:
        return None
    if not run.is_image:
        raise ConfigurationError(f"{KEY} = '{settings}' needs images, not {run.training_set.name}; set it to null.")
    white_1HW, latent, image = _white(settings), run.architecture.latent_shape[-2:], run.architecture.shape[-2:]
    if tuple(white_1HW.shape[-2:]) not in (latent, image):
        sizes = " or ".join(f"{w} x {h}" for h, w in dict.fromkeys((tuple(image), tuple(latent))))
        raise ConfigurationError(
            f"{KEY} = '{settings}' is {white_1HW.shape[2]} x {white_1HW.shape[1]} pixels; it must be {sizes}."
        )
    mask_1HW = F.adaptive_max_pool2d(white_1HW, tuple(latent)) >= 0.5
    if not mask_1HW.any():
        raise ConfigurationError(f"{KEY} = '{settings}' selects nothing: paint the pixels that count white.")
    return mask_1HW


def _white(settings: str) -> Tensor:
    """(1, H, W), 0 black to 1 white."""
    path = Path(settings).expanduser()
    if not path.is_file():
        raise ConfigurationError(
            f"{KEY} = '{settings}' does not exist. Give an image file, white where a pixel counts."
        )
    try:
        with opened_image(path) as image:
            return torch.as_tensor(transforms.to_tensor(image.convert("L")))
    except DataError as error:
        raise ConfigurationError(f"{KEY}: {error}") from error
