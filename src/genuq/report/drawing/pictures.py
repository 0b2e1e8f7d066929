"""Images for the report: contact sheets, and sprite sheets small enough to travel inside one page."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from genuq.errors import DataError
from genuq.report.drawing.marks import under_strip

SHEET_PIXELS = 4096  # side of a sprite sheet; every browser, phones too, decodes images of this size
LOSSLESS = 100
# What is tried in turn: quality of the first group and of the others, and the longest side of an image in pixels.
ATTEMPTS = (
    (LOSSLESS, LOSSLESS, 128),
    (LOSSLESS, 82, 96),
    (LOSSLESS, 60, 96),
    (82, 60, 96),
    (82, 60, 64),
    (60, 60, 48),
    (60, 60, 32),
)
SAMPLE_BYTES = 1900  # of encoded images for one sample of a page; base64 makes 1.3 MB of those of 512 samples


def as_pixels(images: torch.Tensor | np.ndarray, dimensions: int, what: str) -> np.ndarray:
    """Images as a uint8 array with `dimensions` axes, the last three (C, H, W) with 1 or 3 channels.

    Raises:
        DataError: another type, number of axes or number of channels.
    """
    array = images.detach().cpu().numpy() if isinstance(images, torch.Tensor) else np.asarray(images)
    if array.dtype != np.uint8 or array.ndim != dimensions or array.shape[-3] not in (1, 3):
        wanted = "(N, C, H, W)" if dimensions == 4 else "(N, M, C, H, W)"
        raise DataError(
            f"{what} must be uint8 {wanted} with 1 or 3 channels, but they are {array.dtype} {tuple(array.shape)}."
        )
    return array


def sample_grid(images: torch.Tensor | np.ndarray, columns: int, gap: int = 1) -> Image.Image:
    """A contact sheet.

    Args:
        images: uint8 (N, C, H, W) with 1 or 3 channels.
        columns: images in a row; the last row is filled up with white.
        gap: white pixels between images.
    """
    if columns < 1:
        raise DataError(f"A grid needs at least one column, but columns = {columns}.")
    return under_strip(_sheet(as_pixels(images, 4, "Images for a grid"), columns, gap, fill=255))


def _sheet(images_NCHW: np.ndarray, columns: int, gap: int, fill: int) -> Image.Image:
    count, channels, height, width = images_NCHW.shape
    columns = max(1, min(columns, count))
    rows = max(1, math.ceil(count / columns))
    size = (rows * (height + gap) - gap, columns * (width + gap) - gap, channels)
    canvas = np.full(size, fill, np.uint8)
    for n, image_CHW in enumerate(images_NCHW):
        y, x = (n // columns) * (height + gap), (n % columns) * (width + gap)
        canvas[y : y + height, x : x + width] = image_CHW.transpose(1, 2, 0)
    return Image.fromarray(canvas[..., 0] if channels == 1 else canvas)


def shrunk(images_NCHW: np.ndarray, side: int) -> np.ndarray:
    """The images scaled down so that neither side is longer than `side`; smaller ones as they are."""
    height, width = images_NCHW.shape[-2:]
    factor = side / max(height, width)
    if factor >= 1:
        return images_NCHW
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    small = torch.nn.functional.interpolate(
        torch.from_numpy(images_NCHW), size, mode="bilinear", antialias=True, align_corners=False
    )
    return small.numpy()


@dataclass(frozen=True)
class Sprites:
    """Images packed row by row into sheets; image i is tile `i % per_sheet` of sheet `i // per_sheet`."""

    sheets: list[str]
    columns: int
    per_sheet: int
    width: int
    height: int

    def layout(self) -> dict[str, int]:
        """What the page's script needs to find a tile."""
        return {name: getattr(self, name) for name in ("columns", "per_sheet", "width", "height")}


def sprites(images_NCHW: np.ndarray, quality: int = LOSSLESS) -> Sprites:
    """Pack images into sheets and encode each as a data URI.

    Args:
        images_NCHW: uint8.
        quality: of WebP (82 is about six times smaller than PNG); `LOSSLESS` takes PNG.
    """
    height, width = images_NCHW.shape[-2:]
    columns, rows = max(1, SHEET_PIXELS // width), max(1, SHEET_PIXELS // height)
    columns = min(columns, max(1, math.ceil(math.sqrt(len(images_NCHW)))))
    per_sheet = columns * rows
    starts = range(0, len(images_NCHW), per_sheet)
    sheets = [_data_uri(_sheet(images_NCHW[start : start + per_sheet], columns, 0, 0), quality) for start in starts]
    return Sprites(sheets, columns, per_sheet, width, height)


def data_uri(image_CHW: np.ndarray) -> str:
    """One uint8 image as a lossless data URI."""
    return _data_uri(_sheet(image_CHW[None], 1, 0, 0), LOSSLESS)


def _data_uri(image: Image.Image, quality: int) -> str:
    buffer, encoding = io.BytesIO(), "png" if quality == LOSSLESS else "webp"
    options: dict[str, Any] = {"optimize": True} if quality == LOSSLESS else {"quality": quality, "method": 2}
    image.save(buffer, format=encoding.upper(), **options)
    return f"data:image/{encoding};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def page_sprites(groups: Sequence[np.ndarray], budget: int) -> list[Sprites]:
    """Sprites of several groups of images, lossless if they fit the budget together, else as good as fits it.

    Raises nothing for size: the last of `ATTEMPTS` is taken anyway.

    Args:
        groups: uint8 (N, C, H, W) each, the most important first: it is the last to lose.
        budget: bytes of encoded images.
    """
    for first, rest, side in ATTEMPTS:
        small = [shrunk(group, side) for group in groups]
        qualities = [first] + [rest] * (len(groups) - 1)
        lossless = sum(group.size for group, quality in zip(small, qualities) if quality == LOSSLESS)
        if lossless > 3 * budget:
            continue  # images seldom shrink to a third without loss; do not spend a minute on finding out
        packed = [sprites(group, quality) for group, quality in zip(small, qualities)]
        if sum(len(sheet) for group in packed for sheet in group.sheets) <= budget * 4 / 3:
            break
    return packed
