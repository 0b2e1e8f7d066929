"""Shapes by their protocol, and their oracle on real and on planted images."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genuq.data import load, shapes
from genuq.data.drawing import paint
from genuq.data.shapes import GEOMETRIES, ShapesOracle
from genuq.data.truth import GRADES
from genuq.errors import DataError

SIZES = tuple(GEOMETRIES)
COUNT = 200


def planted(image_size: int, seed: int, *figures: tuple[int, int]) -> Tensor:
    """Images (N, 1, H, W) in [-1, 1] with shapes (which, panel): those of a panel above each other, with a gap."""
    geometry, source = GEOMETRIES[image_size], torch.Generator().manual_seed(seed)
    canvas = torch.zeros(COUNT, image_size, image_size, dtype=torch.bool)
    room, taken = geometry.panel[1] // len(figures), 0
    for shape, panel in figures:
        pixels, ranges = geometry.figures[shape], geometry.ranges[shape]
        span = pixels.amax(0) - pixels.amin(0) + 1
        rows = torch.randint(1, room - int(span[0]), (COUNT,), generator=source) - pixels[:, 0].min() + taken
        columns = torch.randint(ranges[1].start, ranges[1].stop - 1, (COUNT,), generator=source)
        shift = 1 if shape == 0 else 0  # so that a triangle keeps off its neighbour
        corners = torch.stack([rows, (columns - shift).clamp(min=0) + panel * geometry.panel[0]], 1)
        paint(canvas, torch.arange(COUNT), corners, pixels)
        taken += room
    return 2.0 * canvas[:, None] - 1


def kinds_of(images: Tensor, image_size: int) -> set[str]:
    truth = ShapesOracle(image_size).truth(images)
    return {truth.names[kind] for kind in truth.kinds}


@pytest.mark.parametrize("image_size", SIZES)
def test_no_real_image_is_flagged(image_size):
    dataset = shapes(image_size, 5_000, seed=7, split="test")
    truth = dataset.oracle.truth(dataset.batch(range(5_000))[0])
    assert truth.valid.all() and not truth.mask.any() and not truth.parts.any()
    assert truth.defect_size.max() <= 1  # a corner that its panel cuts off


def test_the_protocol_is_the_published_one():
    geometry = GEOMETRIES[64]
    assert [len(pixels) for pixels in geometry.figures[1:2]] == [64]
    assert abs(len(geometry.figures[0]) - 65) <= 4 and abs(len(geometry.figures[2]) - 70) <= 4  # those of its script
    ranges = [[(one.start, one.stop - 1) for one in pair] for pair in geometry.ranges]
    assert ranges == [[(0, 52), (0, 10)], [(1, 49), (1, 7)], [(5, 58), (5, 16)]]
    images = shapes(size=4_000).items[:, 0] > 0
    present = torch.stack([images[:, :, 21 * panel : 21 * panel + 21].flatten(1).any(1) for panel in range(3)], 1)
    assert present.any(1).all() and (present.double().mean(0) - 4 / 7).abs().max() < 0.04


@pytest.mark.parametrize("image_size", SIZES)
def test_whole_shapes_that_break_the_rule_are_found(image_size):
    homes = [(0, 0), (1, 1), (2, 2)]
    for shape in range(3):
        elsewhere = [(shape, panel) for panel in range(3) if panel != shape]
        assert all(kinds_of(planted(image_size, 1, one), image_size) == {"foreign"} for one in elsewhere)
        assert kinds_of(planted(image_size, 2, (shape, shape), (shape, shape)), image_size) == {"crowded"}
        assert kinds_of(planted(image_size, 3, homes[shape]), image_size) == {"valid"}
    assert kinds_of(-torch.ones(3, 1, image_size, image_size), image_size) == {"empty"}


@pytest.mark.parametrize("image_size", SIZES)
def test_deformed_shapes_are_broken(image_size):
    """A quarter of a shape is missing; two squares have grown together; a ghost is half as bright."""
    pixels, oracle = GEOMETRIES[image_size].figures[1], ShapesOracle(image_size)
    width = GEOMETRIES[image_size].panel[0]
    for cut, grow, bright in ((0.3, 0, 1.0), (0.0, 3, 1.0), (0.0, 0, -0.1)):
        kept = pixels[int(cut * len(pixels)) :]
        lit = torch.cat([kept, kept + grow])
        images = -torch.ones(1, 1, image_size, image_size)
        images[0, 0, lit[:, 0] + 5, lit[:, 1] + width + 1] = bright
        truth = oracle.truth(images)
        assert truth.names[int(truth.kinds[0])] in GRADES and truth.defect_size[0] > oracle.tolerance
        assert truth.parts.tolist() == [[False, True, False]]
        assert not truth.mask[0, :, :width].any() and not truth.mask[0, :, 2 * width :].any()


def test_the_mask_shows_the_shape_that_is_wrong():
    images = planted(64, 5, (0, 0), (1, 2))
    truth = ShapesOracle(64).truth(images)
    assert {truth.names[kind] for kind in truth.kinds} == {"foreign"}
    assert truth.parts.tolist() == [[False, False, True]] * COUNT
    expected = (images[:, 0] > 0) & (torch.arange(64) >= 42)
    assert torch.equal(truth.mask, expected)


def test_the_mask_of_a_broken_panel_leaves_out_its_whole_shapes():
    """A square at home and a blot beneath it: the panel looks crowded as well."""
    images = planted(64, 5, (1, 1), (0, 1))[:1]
    images[0, 0, 30:, 21:42] = -1
    home = images[0, 0].clone() > 0
    images[0, 0, 40:56, 24:36] = 1
    truth = ShapesOracle(64).truth(images)
    assert truth.of("broken")[0] and truth.mask[0].any() and not (truth.mask[0] & home).any()


@pytest.mark.parametrize("image_size", SIZES)
def test_a_grey_defect_is_in_the_mask(image_size):
    images = planted(image_size, 5, (0, 0))[:1]
    width = GEOMETRIES[image_size].panel[0]
    images[0, 0, :, width : 2 * width] = -0.4  # an error of 0.6 on black
    truth = ShapesOracle(image_size).truth(images)
    assert truth.of("broken")[0] and truth.mask[0, :, width : 2 * width].all()
    assert int(truth.mask.sum()) == image_size * width


def test_grain_is_no_defect():
    images, _ = shapes(size=50).batch(range(50))
    noisy = images + 0.08 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    assert ShapesOracle(64).truth(noisy).valid.all()


def test_images_are_keyed_by_seed_and_split():
    assert torch.equal(shapes(size=20, seed=1).items, load("shapes", size=20, seed=1).items)
    others = (shapes(size=20, seed=2), shapes(size=20, seed=1, split="test"))
    assert not any(torch.equal(shapes(size=20, seed=1).items, other.items) for other in others)


@pytest.mark.parametrize("options", [{"image_size": 48}, {"size": 0}])
def test_shapes_that_do_not_exist(options):
    with pytest.raises(DataError, match="image_size of shapes is one of 32, 64, 128, size at least 1"):
        shapes(**options)
