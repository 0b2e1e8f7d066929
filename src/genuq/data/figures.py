"""Which figures an image shows: its connected components, each matched with the nearest of a few known figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from genuq.data.drawing import cropped, paint

SLACK = 2  # pixels by which a figure may be shifted against the box of a component
NOTHING = -1  # a component so small that an empty ground explains it better than any figure
IN_PLANE = np.stack([np.zeros((3, 3)), np.ones((3, 3)), np.zeros((3, 3))])  # neighbours, diagonal ones too


@dataclass(frozen=True)
class Figures:
    """The K components of N images.

    Attributes:
        image_K: which image.
        figure_K: which of the known figures is nearest, or `NOTHING`.
        left_K, right_K: first and last column.
        components_NHW: number of the component that a pixel belongs to, from 1 on; 0 is ground.
        explained_NHW: bool, the images that the nearest figures make where they lie best.
    """

    image_K: Tensor
    figure_K: Tensor
    left_K: Tensor
    right_K: Tensor
    components_NHW: Tensor
    explained_NHW: Tensor

    def pixels_of(self, chosen_K: Tensor) -> Tensor:
        """bool (N, H, W), the pixels of some components."""
        ground = torch.zeros(1, dtype=torch.bool)
        return torch.cat([ground, chosen_K])[self.components_NHW]


def figures_in(ink_NHW: Tensor, known: Sequence[Tensor]) -> Figures:
    """The figures of images, by the fewest wrong pixels over all small shifts.

    Args:
        ink_NHW: bool, the lit pixels.
        known: the pixels (P, 2) of each figure.
    """
    numbers, count = ndimage.label(ink_NHW.numpy(), IN_PLANE)
    boxes = ndimage.find_objects(numbers)
    places = [[box[0].start, box[1].start, box[2].start, box[2].stop - 1] for box in boxes]
    image_K, top_K, left_K, right_K = torch.tensor(places, dtype=torch.long).reshape(-1, 4).unbind(1)
    components_NHW, figures = torch.from_numpy(numbers).long(), [cropped(pixels) for pixels in known]
    side = max(int(pixels.max()) for pixels in figures) + 1 + 2 * SLACK
    windows_KSS = _windows(components_NHW, image_K, top_K, left_K, side)
    area_K = torch.bincount(components_NHW.flatten(), minlength=count + 1)[1:]
    shifted_ASS, shifts = _shifted(figures, side)
    overlap_KA = windows_KSS.flatten(1).float() @ shifted_ASS.flatten(1).float().T
    mismatch_KA = area_K[:, None] + shifted_ASS.sum((1, 2)) - 2 * overlap_KA
    wrong_K, best_K = mismatch_KA.min(1)
    figure_K = torch.where(wrong_K < area_K, shifts[best_K, 0], NOTHING)
    explained_NHW = torch.zeros_like(ink_NHW)
    corners_K2 = torch.stack([top_K, left_K], 1) + shifts[best_K, 1:] - SLACK
    for number, pixels in enumerate(figures):
        chosen = figure_K == number
        paint(explained_NHW, image_K[chosen], corners_K2[chosen], pixels)
    return Figures(image_K, figure_K, left_K, right_K, components_NHW, explained_NHW)


def _windows(components_NHW: Tensor, image_K: Tensor, top_K: Tensor, left_K: Tensor, side: int) -> Tensor:
    """bool (K, S, S), what of each component lies in a window around the corner of its box."""
    padded = torch.nn.functional.pad(components_NHW, (SLACK, side, SLACK, side))
    along = torch.arange(side)
    rows_KS, columns_KS = top_K[:, None] + along, left_K[:, None] + along
    windows_KSS = padded[image_K[:, None, None], rows_KS[:, :, None], columns_KS[:, None]]
    return windows_KSS == torch.arange(1, len(image_K) + 1)[:, None, None]


def _shifted(figures: Sequence[Tensor], side: int) -> tuple[Tensor, Tensor]:
    """bool (A, S, S), every figure at every shift; and int64 (A, 3), the number of the figure and the shift."""
    steps = torch.arange(2 * SLACK + 1)
    shifts_A3 = torch.cartesian_prod(torch.arange(len(figures)), steps, steps)
    canvas_ASS = torch.zeros(len(shifts_A3), side, side, dtype=torch.bool)
    for number, pixels in enumerate(figures):
        chosen = (shifts_A3[:, 0] == number).nonzero()[:, 0]
        paint(canvas_ASS, chosen, shifts_A3[chosen, 1:], pixels)
    return canvas_ASS, shifts_A3
