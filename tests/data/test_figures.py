"""Components of images and the figures that are nearest to them."""

from __future__ import annotations

import torch

from genuq.data.drawing import paint, rectangle
from genuq.data.figures import NOTHING, figures_in

KNOWN = [rectangle(4, 4), rectangle(2, 8)]


def painted(*figures: tuple[int, int, int]) -> torch.Tensor:
    """An image (1, 16, 16) with figures (which, row, column)."""
    canvas = torch.zeros(1, 16, 16, dtype=torch.bool)
    for which, row, column in figures:
        paint(canvas, torch.tensor([0]), torch.tensor([[row, column]]), KNOWN[which])
    return canvas


def test_whole_figures_are_found_where_they_are():
    ink = torch.cat([painted((0, 2, 3), (1, 10, 5)), painted((0, 12, 12)), painted()])
    found = figures_in(ink, KNOWN)
    assert found.image_K.tolist() == [0, 0, 1] and found.figure_K.tolist() == [0, 1, 0]
    assert found.left_K.tolist() == [3, 5, 12] and found.right_K.tolist() == [6, 12, 15]
    assert torch.equal(found.explained_NHW, ink)
    assert torch.equal(found.pixels_of(torch.tensor([True, False, True])), ink & (found.components_NHW != 2))


def test_a_damaged_figure_is_still_the_nearest_and_a_speck_is_none():
    ink = painted((0, 2, 3))
    ink[0, 2, 3] = ink[0, 3, 6] = False
    ink[0, 6, 7] = ink[0, 13, 13] = True
    found = figures_in(ink, KNOWN)
    assert found.figure_K.tolist() == [0, NOTHING]
    assert torch.equal(found.explained_NHW, painted((0, 2, 3)))


def test_images_without_ink_have_no_figures():
    found = figures_in(torch.zeros(2, 16, 16, dtype=torch.bool), KNOWN)
    assert len(found.image_K) == 0 and not found.explained_NHW.any()
