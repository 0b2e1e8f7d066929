"""What a finished stage tells wandb, as far as it is numbers: curves, their maxima, notes by their paths."""

from __future__ import annotations

import math

import numpy as np
import pytest

from genuq.tracking.wandb_content import flat, in_bins, kept_rows, label, normalised, numbered, thumbnails
from support.made_evaluation import SCORE


def test_notes_become_numbers_by_their_paths() -> None:
    notes = {"posteriors": {"draws": {"scale": {"temperature": 0.5}, "kind": "kfac", "configuration": {"draws": 3}}}}
    assert flat("fit", notes) == {"fit/posteriors/draws/scale/temperature": 0.5}


def test_a_criterion_is_counted_from_its_highest_value() -> None:
    xs, ys = normalised([0.1, 1.0, 10.0, 0.0, 100.0], [-5.0, -2.0, math.inf, 1.0, None])  # type: ignore[list-item]
    assert xs == pytest.approx([-1, 0]) and ys == [-3.0, 0.0]


def test_bins_lie_at_their_centres_or_are_numbered_from_one() -> None:
    assert in_bins([3.0, 4.0]) == ([0.25, 0.75], [3.0, 4.0])
    assert numbered([3.0, None]) == ([1.0, 2.0], [3.0, None])
    assert (label("draws"), label("beside")) == ("posterior", "beside")


def test_retention_curves_are_steps_with_chance_beside_them() -> None:
    assert list(kept_rows(SCORE)) == [
        {"fraction_kept": 1.0, "kept/fid": 8.0, "kept/fid_at_random": 8.0},
        {"fraction_kept": 0.5, "kept/fid": 7.0, "kept/fid_at_random": 8.25},
    ]


@pytest.mark.parametrize(("side", "seen"), [(28, 112), (100, 200), (112, 112), (512, 256)])
def test_small_images_are_enlarged_pixel_by_pixel_and_large_ones_shrunk(side: int, seen: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 1, side, side), dtype=np.uint8)
    found = thumbnails(images)
    assert found.shape == (2, 1, seen, seen)
    if seen % side == 0:
        np.testing.assert_array_equal(found[..., :: seen // side, :: seen // side], images)
