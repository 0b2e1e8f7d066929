"""Drawn images whose truth is known: a bright disc or ring on a dark ground."""

from __future__ import annotations

import torch
from torch import Tensor

from genuq.data import ArrayDataset, DataPart
from genuq.data.base import SPLITS, check_split
from genuq.errors import DataError
from genuq.randomness import generator

CLASSES = ["disc", "ring"]


def discs_and_rings(split: str, size: int = 4096, pixels: int = 16, seed: int = 0) -> ArrayDataset:
    """Discs and rings of random place and radius, (1, pixels, pixels), two classes in turn.

    Args:
        split: `train` or `test`, independent of each other; genuq gives it.
        size: number of images.
        pixels: edge of an image.
        seed: the same images for the same seed, size, pixels and split.

    Raises:
        DataError: no such split, no images, or too few pixels for a ring.
    """
    if size < 1 or pixels < 8:
        raise DataError(f"data.size = {size}, data.pixels = {pixels}; at least 1 and 8 are needed.")
    source = generator(seed, SPLITS.index(check_split(split)), "discs and rings")
    labels = torch.arange(size) % len(CLASSES)
    centre_N2 = 0.35 + 0.3 * torch.rand(size, 2, generator=source)
    radius_N = 0.2 + 0.12 * torch.rand(size, generator=source)
    return ArrayDataset(drawn(centre_N2, radius_N, labels, pixels), labels, CLASSES, f"discs_and_rings_{pixels}", split)


def drawn(centre_N2: Tensor, radius_N: Tensor, labels_N: Tensor, pixels: int) -> Tensor:
    """uint8 (N, 1, pixels, pixels); lengths in image edges; borders are blurred over one pixel."""
    place_P = (torch.arange(pixels) + 0.5) / pixels
    offset_N2P = place_P - centre_N2[:, :, None]
    distance_NPP = (offset_N2P[:, 0, :, None].square() + offset_N2P[:, 1, None, :].square()).sqrt()
    inside_NPP = ((radius_N[:, None, None] - distance_NPP) * pixels + 0.5).clamp(0, 1)
    hole_NPP = ((radius_N[:, None, None] / 2 - distance_NPP) * pixels + 0.5).clamp(0, 1)
    bright_NPP = inside_NPP - hole_NPP * labels_N[:, None, None]
    return (bright_NPP * 255).round().to(torch.uint8)[:, None]


PART = DataPart.of(discs_and_rings, label="Discs and rings")
