"""Figures against Pillow's drawing, and painting against a loop."""

from __future__ import annotations

import torch
from PIL import Image, ImageDraw

from genuq.data.drawing import cropped, paint, polygon, rectangle, regular_polygon


def test_a_polygon_is_about_what_pillow_draws():
    """Pillow's rule for the rim is another one: a pixel or two at the corners."""
    picture = Image.new("L", (20, 20))
    ImageDraw.Draw(picture).polygon([(0, 0), (11, 0), (5, 9)], fill=1, outline=1)
    theirs = {(place // 20, place % 20) for place, lit in enumerate(picture.tobytes()) if lit}
    ours = {(row, column) for row, column in polygon([(0, 0), (11, 0), (5, 9)]).tolist()}
    assert len(ours ^ theirs) <= 6


def test_the_order_of_the_corners_does_not_matter():
    corners = [(0.0, 0.0), (11.0, 0.0), (5.0, 9.0)]
    assert torch.equal(polygon(corners), polygon(corners[::-1]))


def test_a_polygon_with_right_angles_is_a_rectangle():
    assert torch.equal(polygon([(0, 0), (4, 0), (4, 2), (0, 2)]), rectangle(3, 5))


def test_a_regular_polygon_is_its_own_mirror_image():
    pixels = regular_polygon(5, 5)
    mirrored = pixels * torch.tensor([-1, 1])
    assert {tuple(pixel) for pixel in pixels.tolist()} == {tuple(pixel) for pixel in mirrored.tolist()}
    assert int(pixels[:, 1].max()) == 5 and cropped(pixels).amin(0).tolist() == [0, 0]


def test_painting_lights_what_is_inside():
    pixels, canvas = rectangle(2, 3), torch.zeros(3, 4, 6, dtype=torch.uint8)
    corners = torch.tensor([[0, 0], [3, 4]])
    paint(canvas, torch.tensor([0, 2]), corners, pixels, columns=(1, 5))
    expected = torch.zeros_like(canvas)
    for image, (top, left) in zip((0, 2), corners.tolist()):
        for row, column in pixels.tolist():
            if top + row < 4 and 1 <= left + column < 5:
                expected[image, top + row, left + column] = 255
    assert torch.equal(canvas, expected) and int((canvas > 0).sum()) == 5
