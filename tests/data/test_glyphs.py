"""Glyphs and their oracle: real images, and planted ones of every kind."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from genuq.data import glyphs, load
from genuq.data.glyphs import GlyphsOracle, assembled, combinations, glyph_masks, quadrants_of, templates
from genuq.data.truth import GRADES
from genuq.errors import DataError

SCALES = (1, 2, 3)


def composed(rows: list[list[int]], scale: int, seed: int = 0) -> Tensor:
    """Images in [-1, 1] of these glyphs at random offsets."""
    places = torch.randint(25, (len(rows), 4), generator=torch.Generator().manual_seed(seed))
    return 2.0 * assembled(templates(scale)[torch.tensor(rows), places])[:, None] - 1


@pytest.mark.parametrize("scale", SCALES)
def test_no_real_image_is_flagged(scale):
    dataset = glyphs(32 * scale, 5_000, seed=5, split="test")
    truth = dataset.oracle.truth(dataset.batch(range(5_000))[0])
    assert truth.valid.all() and truth.defect_size.max() == 0 and not truth.mask.any() and not truth.parts.any()


def test_any_two_glyphs_differ_by_far_more_than_the_tolerance():
    flat = templates(1).flatten(2).float()
    for one, other in itertools.combinations(range(8), 2):
        assert torch.cdist(flat[one], flat[other], p=1).min() > 2 * GlyphsOracle().tolerance


def test_training_images_have_one_half_of_the_combinations():
    seen, held_out = ({tuple(row) for row in half.tolist()} for half in combinations(0))
    assert len(seen) == len(held_out) == 840 and not seen & held_out
    assert seen | held_out == set(itertools.permutations(range(8), 4))
    found = {split: glyphs_on(glyphs(size=1_000, split=split)) for split in ("train", "test")}
    assert found["train"] <= seen and found["test"] & held_out and found["test"] & seen


def glyphs_on(dataset) -> set[tuple[int, ...]]:
    """The combinations of a set's images, by comparison with every template."""
    quadrants = quadrants_of(dataset.items[:, 0] > 0).flatten(2).float()
    nearest = torch.cdist(quadrants, templates(1).flatten(0, 1).flatten(1).float()).argmin(-1) // 25
    return {tuple(row) for row in nearest.tolist()}


def test_offsets_are_spread_evenly():
    quadrants = quadrants_of(glyphs(size=5_000).items[:, 0] > 0)
    first = quadrants.any(-1).float().argmax(-1)  # the glyphs that fill their square begin at the offset
    assert set(first.flatten().tolist()) >= set(range(5))


@pytest.mark.parametrize("scale", SCALES)
def test_a_glyph_that_stands_twice_breaks_the_rule(scale):
    rows = [list(row) for row in itertools.product(range(3), repeat=4)]
    images = composed(rows, scale)
    truth = GlyphsOracle(scale).truth(images)
    names = [truth.names[kind] for kind in truth.kinds]
    assert names == ["rule_broken"] * len(rows)  # four of three glyphs: one of them stands twice
    twice = torch.tensor([[row.count(glyph) > 1 for glyph in row] for row in rows])
    assert torch.equal(truth.parts, twice)
    shown = assembled(twice[..., None, None].expand(-1, -1, 16 * scale, 16 * scale))
    assert torch.equal(truth.mask, shown & (images[:, 0] > 0))


@pytest.mark.parametrize("scale", SCALES)
def test_broken_glyphs_are_flagged_where_they_are(scale):
    """An empty quadrant; half a glyph; the mean of two glyphs; a glyph that is bitten."""
    images = composed([[0, 1, 2, 3]] * 4, scale)
    side = 16 * scale
    images[0, 0, :side, :side] = -1
    images[1, 0, 8 * scale : side, :side] = -1
    other = composed([[6, 1, 2, 3]] * 4, scale, seed=1)
    images[2, 0, :side, :side] = (images[2, 0, :side, :side] + other[2, 0, :side, :side]) / 2
    images[3, 0, 6 * scale : 10 * scale, 6 * scale : 10 * scale] *= -1
    truth = GlyphsOracle(scale).truth(images)
    assert truth.of("broken_large")[0]
    assert all(truth.names[kind] in GRADES for kind in truth.kinds)
    assert truth.parts.tolist() == [[True, False, False, False]] * 4
    assert not truth.mask[:, side:].any() and not truth.mask[:, :, side:].any()
    assert truth.defect_size[3] == pytest.approx(16 * scale**2)
    assert int(truth.mask[3].sum()) == 16 * scale**2


@pytest.mark.parametrize("contrast", [0.1, 0.3, 0.5])
def test_a_grey_glyph_is_broken_where_it_is_grey(contrast):
    """The error 1 - contrast is beyond the grain, but below that of mid-grey."""
    images = composed([[1, 0, 2, 3]], 1)
    images[0, 0, :16, :16] *= contrast
    truth = GlyphsOracle().truth(images)
    assert truth.of("broken")[0] and truth.mask[0, :16, :16].all() and int(truth.mask.sum()) == 256


def test_a_broken_quadrant_says_nothing_of_the_rule():
    images = composed([[0, 0, 1, 2]], 1)
    images[0, 0, 16:, 16:] = 0
    truth = GlyphsOracle().truth(images)
    assert truth.names[int(truth.kinds[0])] in GRADES and truth.parts.tolist() == [[False, False, False, True]]


def test_images_that_are_not_numbers_are_broken():
    truth = GlyphsOracle().truth(torch.full((1, 1, 32, 32), float("nan")))
    assert truth.of("broken").all() and truth.of("broken_large").all()


def test_grain_is_no_defect():
    images, _ = glyphs(size=100).batch(range(100))
    noisy = images + 0.08 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    assert GlyphsOracle().truth(noisy).valid.all()


def test_the_signs_are_eight():
    assert glyph_masks().shape == (8, 12, 12) and len({tuple(mask.flatten().tolist()) for mask in glyph_masks()}) == 8


def test_images_are_keyed_by_seed_and_split():
    assert torch.equal(glyphs(size=20, seed=1).items, load("glyphs", size=20, seed=1).items)
    others = (glyphs(size=20, seed=2), glyphs(size=20, seed=1, split="test"))
    assert not any(torch.equal(glyphs(size=20, seed=1).items, other.items) for other in others)


@pytest.mark.parametrize("options", [{"image_size": 48}, {"image_size": 0}, {"size": 0}])
def test_glyphs_that_do_not_exist(options):
    with pytest.raises(DataError, match="glyphs need an image_size of 32, 64, 96"):
        glyphs(**options)
