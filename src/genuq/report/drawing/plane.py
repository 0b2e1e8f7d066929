"""Points of any dimension as they are drawn: in a plane."""

from __future__ import annotations

import numpy as np


def in_plane(points: np.ndarray) -> np.ndarray:
    """The first two coordinates of points (..., D); of one, zeros stand in the second's place."""
    missing = max(0, 2 - points.shape[-1])
    return np.pad(points, [(0, 0)] * (points.ndim - 1) + [(0, missing)])[..., :2]


def plane_words(dimensions: int) -> str:
    """Which coordinates are shown, where it is not all of them."""
    return f"Shown: the first two of {dimensions} coordinates." if dimensions > 2 else ""
