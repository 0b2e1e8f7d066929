"""Figures of lit pixels: polygons and rectangles, and how they are painted on many images at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

REACH = 0.5  # pixels: one whose centre is no farther from a polygon is lit
WHITE = 255


def polygon(vertices: Sequence[tuple[float, float]]) -> Tensor:
    """int64 (P, 2), row and column of the pixels of a convex polygon.

    Args:
        vertices: (x, y) in pixels, y downwards, in either order around it.
    """
    corners_V2 = torch.tensor(vertices, dtype=torch.float64)
    low, high = (corners_V2.amin(0) - REACH).ceil(), (corners_V2.amax(0) + REACH).floor()
    columns, rows = (torch.arange(int(low[axis]), int(high[axis]) + 1) for axis in (0, 1))
    pixels_P2 = torch.cartesian_prod(rows, columns)
    edges_V2 = corners_V2.roll(-1, 0) - corners_V2
    normals_V2 = torch.stack([edges_V2[:, 1], -edges_V2[:, 0]], 1) / edges_V2.norm(dim=1, keepdim=True)
    outwards = -torch.sign(((corners_V2.mean(0) - corners_V2) * normals_V2).sum(1, keepdim=True))
    offsets_PV2 = pixels_P2.flip(1)[:, None].double() - corners_V2
    distance_PV = (offsets_PV2 * (normals_V2 * outwards)).sum(-1)
    return pixels_P2[(distance_PV <= REACH + 1e-9).all(1)]


def regular_polygon(vertices: int, radius: float) -> Tensor:
    """int64 (P, 2), the pixels of a regular polygon around the origin, a vertex on its right."""
    angles = [2 * math.pi * number / vertices for number in range(vertices)]
    return polygon([(radius * math.cos(angle), radius * math.sin(angle)) for angle in angles])


def rectangle(height: int, width: int) -> Tensor:
    """int64 (P, 2), the pixels of a rectangle, the first at the origin."""
    return torch.cartesian_prod(torch.arange(height), torch.arange(width))


def paint(
    canvas_NHW: Tensor, images_M: Tensor, corners_M2: Tensor, pixels_P2: Tensor, columns: tuple[int, int] | None = None
) -> None:
    """Light a figure on images, in place; what lies outside is cut off.

    Args:
        images_M: on which images, one for each of the figure's copies.
        corners_M2: row and column of the figure's origin.
        pixels_P2: of the figure.
        columns: the first column that it may light, and the one behind the last; None: all.
    """
    _, height, width = canvas_NHW.shape
    first, behind = columns or (0, width)
    rows_MP, columns_MP = (corners_M2[:, None] + pixels_P2).unbind(-1)
    inside_MP = (rows_MP >= 0) & (rows_MP < height) & (columns_MP >= first) & (columns_MP < behind)
    images_MP = images_M[:, None].expand_as(rows_MP)
    white = True if canvas_NHW.dtype == torch.bool else WHITE
    canvas_NHW[images_MP[inside_MP], rows_MP[inside_MP], columns_MP[inside_MP]] = white


def cropped(pixels_P2: Tensor) -> Tensor:
    """A figure with its first row and column at 0."""
    return pixels_P2 - pixels_P2.amin(0)
