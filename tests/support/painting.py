"""Masks painted into image files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def painted(path: Path, rows: slice, side: int = 16) -> Path:
    """A black picture with some white rows."""
    pixels = np.zeros((side, side), np.uint8)
    pixels[rows] = 255
    Image.fromarray(pixels).save(path)
    return path
