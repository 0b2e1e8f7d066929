"""What every extractor does to images before its network sees them: to float, to three channels, to one size."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from genuq.errors import DataError, require_finite

Filter = Literal["bilinear", "bicubic"]
CLEAN_FID_SIZE = 299


def to_unit_range(images_BCHW: Tensor) -> Tensor:
    """uint8 images of [0, 255] as float32 of [0, 1]; floating images must lie in [0, 1] already.

    Raises:
        DataError: not four axes, neither 1 nor 3 channels, or a range that is not [0, 1].
        NonFiniteError: NaN or infinite pixels.
    """
    if images_BCHW.ndim != 4 or images_BCHW.shape[1] not in (1, 3):
        raise DataError(f"Images must be (B, C, H, W) with C = 1 or 3, not {tuple(images_BCHW.shape)}.")
    if images_BCHW.dtype == torch.uint8:
        return images_BCHW.float() / 255
    if not images_BCHW.is_floating_point():
        raise DataError(f"Images must be uint8 in [0, 255] or floating in [0, 1], not {images_BCHW.dtype}.")
    _require_unit_range(images_BCHW)
    return images_BCHW.float()


def _require_unit_range(images_BCHW: Tensor, tolerance: float = 1e-3) -> None:
    if images_BCHW.numel() == 0:
        return
    require_finite(images_BCHW, "Images", "Look at the sampler: no feature can be computed from these pixels.")
    low, high = (float(bound) for bound in images_BCHW.aminmax())
    if low < -tolerance or high > 1 + tolerance:
        raise DataError(
            f"Floating images must lie in [0, 1], these in [{low:.3g}, {high:.3g}]. "
            "From a model's [-1, 1] they are (images.clamp(-1, 1) + 1) / 2."
        )


def to_rgb(images_BCHW: Tensor) -> Tensor:
    """Grey images repeated over three channels (a view); colour images as they are."""
    return images_BCHW if images_BCHW.shape[1] == 3 else images_BCHW.expand(-1, 3, -1, -1)


def resize(images_BCHW: Tensor, size: int, filter: Filter = "bicubic") -> Tensor:
    """Images resized to (size, size), antialiased, so that a smaller image does not show the grid of the larger.

    PIL's filters: bicubic has the coefficient -1/2 and, like PIL's floating-point mode, may overshoot [0, 1].
    """
    if images_BCHW.shape[-2:] == (size, size):
        return images_BCHW
    return F.interpolate(images_BCHW, (size, size), mode=filter, antialias=True, align_corners=False)


def clean_resize(images_BCHW: Tensor) -> Tensor:
    """clean-fid's resizing: bicubic with antialiasing to 299 x 299, without quantisation, clipped to the range.

    Args:
        images_BCHW: floating images in [0, 1].
    Returns:
        (B, C, 299, 299) in [0, 1].
    Source: Parmar, Zhang, Zhu, On Aliased Resizing and Surprising Subtleties in GAN Evaluation, CVPR 2022.
    """
    return resize(images_BCHW, CLEAN_FID_SIZE, "bicubic").clamp(0, 1)
