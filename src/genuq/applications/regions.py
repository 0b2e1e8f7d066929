"""The uncertain region of an image: its pixels of highest variance."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from genuq.errors import ConfigurationError
from genuq.propagators.scores import some_of_each


def uncertain_region(variance: Tensor, share: float, dilate: int = 0) -> Tensor:
    """bool (N, 1, H, W): the share of each image's pixels with the highest variance, summed over channels.

    Args:
        variance: (N, C, H, W), per pixel.
        share: of the pixels, rounded, in (0, 1].
        dilate: how many times to grow the region by the eight neighbours of each of its pixels.

    Raises:
        ConfigurationError: no images, a share that selects no pixel, or a variance that is zero everywhere.
    """
    if variance.ndim != 4:
        raise ConfigurationError(
            f"application.region needs images; these are {tuple(variance.shape[1:])}. Choose application=filter, "
            "best_of_n or augment."
        )
    map_NP = variance.double().sum(1).flatten(1)
    pixels = map_NP.shape[1]
    count = round(share * pixels)
    if not 0 < share <= 1 or count < 1:
        raise ConfigurationError(
            f"application.region = {share} selects {max(0, count)} of {pixels} pixels; it must lie in (0, 1] and "
            f"select at least one: {1 / pixels:.2g} or more."
        )
    certain = (map_NP.amax(1) <= 0).nonzero().flatten()
    if len(certain):
        raise ConfigurationError(
            f"application.region selects nothing of image {int(certain[0])} ({len(certain)} such of {len(map_NP)}): "
            "its variance is zero everywhere. Choose an earlier or later application.cut, or another posterior."
        )
    region = torch.zeros_like(map_NP, dtype=torch.bool)
    region.scatter_(1, map_NP.topk(count, dim=1).indices, True)
    return dilated(region.reshape(len(variance), 1, *variance.shape[2:]), dilate)


def require_region(region: Tensor) -> Tensor:
    """The region (N, 1, H, W), which must be boolean and select something of every image.

    Raises:
        ConfigurationError: it does not.
    """
    if region.dtype != torch.bool:
        raise ConfigurationError(f"a region must be boolean (for instance map > threshold), not {region.dtype}.")
    return some_of_each(region, "the region")


def dilated(region: Tensor, times: int) -> Tensor:
    """The region (N, 1, H, W) grown by the eight neighbours of each of its pixels, so many times."""
    if times < 0:
        raise ConfigurationError(f"application.dilate = {times}; it must be 0 or more.")
    grown = region.float()
    for _ in range(times):
        grown = F.max_pool2d(grown, 3, stride=1, padding=1)
    return grown > 0


def on_images(region: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A region of latents (N, 1, h, w) on the pixels of the images, (N, 1, H, W)."""
    if tuple(region.shape[-2:]) == shape[-2:]:
        return region
    return F.interpolate(region.float(), size=shape[-2:], mode="nearest") > 0
