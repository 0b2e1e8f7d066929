"""Triangles and their oracle, on real and on planted images."""

from __future__ import annotations

import pytest
import torch
from scipy import ndimage

from genuq.data import load, triangles
from genuq.data.drawing import paint
from genuq.data.triangles import TrianglesOracle, triangle
from genuq.data.truth import GRADES
from genuq.errors import DataError

SIZES = (48, 64, 128)


def planted(image_size: int, count: int) -> torch.Tensor:
    """One image with so many triangles side by side in rows of four."""
    canvas, step = torch.zeros(1, image_size, image_size, dtype=torch.bool), image_size // 4
    places = [(1 + step * (number // 4), 1 + step * (number % 4)) for number in range(count)]
    if places:
        paint(canvas, torch.zeros(count, dtype=torch.long), torch.tensor(places), triangle(image_size))
    return 2.0 * canvas[:, None] - 1


@pytest.mark.parametrize("image_size", SIZES)
def test_no_real_image_is_flagged_and_each_has_three(image_size):
    dataset = triangles(image_size, 5_000, seed=3, split="test")
    images, _ = dataset.batch(range(5_000))
    truth = dataset.oracle.truth(images)
    assert truth.valid.all() and truth.defect_size.max() == 0 and not truth.mask.any()
    assert all(ndimage.label(image[0].numpy() > 0.5)[1] == 3 for image in images[:200])


@pytest.mark.parametrize("image_size", SIZES)
@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 7])
def test_another_number_breaks_the_rule(image_size, count):
    images = planted(image_size, count)
    truth = TrianglesOracle(image_size).truth(images)
    assert truth.names[int(truth.kinds[0])] == ("valid" if count == 3 else "rule_broken")
    assert torch.equal(truth.mask, (images[:, 0] > 0) & (count != 3)) and bool(truth.parts[0, 0]) == (count != 3)


@pytest.mark.parametrize("image_size", SIZES)
def test_what_is_no_triangle_is_broken(image_size):
    """One without its lower half; two that have grown together; a blot."""
    step, oracle = image_size // 8, TrianglesOracle(image_size)
    halved, grown, blot = (planted(image_size, 3) for _ in range(3))
    halved[0, 0, 2 + step // 2 : 2 + 2 * step, : image_size // 4] = -1
    grown[0, 0, 1 + step - 1, 1 : image_size // 2] = 1
    grown[0, 0, 1 + step // 2 : 1 + step, 1 : image_size // 2] = 1
    blot[0, 0, -step:, -step:] = 1
    truth = oracle.truth(torch.cat([halved, grown, blot]))
    assert all(truth.names[kind] in GRADES for kind in truth.kinds) and truth.mask.flatten(1).any(1).all()


@pytest.mark.parametrize("image_size", SIZES)
def test_the_mask_of_a_broken_image_leaves_out_its_whole_triangles(image_size):
    """Three and a blot, which counts as a fourth."""
    images, step = planted(image_size, 3), image_size // 8
    images[0, 0, -step:, -step:] = 1
    truth = TrianglesOracle(image_size).truth(images)
    assert truth.of("broken")[0] and truth.mask.any()
    assert not truth.mask[:, : image_size // 4].any()


@pytest.mark.parametrize("grey", [0.3, -0.2])  # on black: an error of 1.3 or 0.8
def test_a_grey_defect_is_in_the_mask(grey):
    images = planted(64, 3).repeat(2, 1, 1, 1)
    images[0, 0, -24:, -24:] = grey
    images[1, 0, :24, :24] = images[1, 0, :24, :24].clamp(max=grey)
    images[1, 0, -24:, -24:] = grey
    truth = TrianglesOracle(64).truth(images)
    assert truth.of("broken").all() and truth.mask[:, -24:, -24:].all()
    assert torch.equal(truth.mask[0].sum(), torch.tensor(24 * 24))


def test_images_are_keyed_by_seed_and_split():
    assert torch.equal(triangles(size=20, seed=1).items, load("triangles", size=20, seed=1).items)
    others = (triangles(size=20, seed=2), triangles(size=20, seed=1, split="test"))
    assert not any(torch.equal(triangles(size=20, seed=1).items, other.items) for other in others)


@pytest.mark.parametrize("options", [{"image_size": 32}, {"image_size": 65}, {"size": 0}])
def test_triangles_that_do_not_exist(options):
    with pytest.raises(DataError, match="triangles need an image_size of 48, 64, 80"):
        triangles(**options)
