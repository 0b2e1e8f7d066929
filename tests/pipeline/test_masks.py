"""The pixels that an image score counts, from an image file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from genuq.errors import ConfigurationError
from genuq.pipeline.execute import preflight  # registers the stages
from genuq.pipeline.masks import score_mask
from genuq.pipeline.run import Run
from support.painting import painted
from support.small_runs import IMAGES, POINTS, composed

STAGES = "stages=[train,judge,fit,sample,propagate,embed,score,evaluate,report]"


def test_on_latents_a_mask_of_the_images_counts_what_it_touches(tmp_path: Path) -> None:
    """The shipped autoencoder makes 7 x 7 latents of 28 x 28 pixels: rows 4 to 8 touch the rows 1 and 2."""
    for path, counted in (
        (painted(tmp_path / "images.png", slice(4, 9), 28), [1, 2]),
        (painted(tmp_path / "latents.png", slice(3, 4), 7), [3]),
    ):
        run = Run(composed("model=latent_diffusion", "propagator=trajectory", f"propagator.mask={path}"), tmp_path, "")
        found = score_mask(run)
        assert found is not None and found.shape == (1, 7, 7)
        assert found[0].any(1).nonzero().flatten().tolist() == counted and found[0, counted].all()


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda path: None, r"propagator\.mask = '.*mask\.png' does not exist\. Give an image file"),
        (lambda path: path.write_bytes(b"no picture"), r"propagator\.mask: .*mask\.png is damaged or no image"),
        (lambda path: painted(path, slice(0, 9), 9), r"is 9 x 9 pixels; it must be 16 x 16\."),
        (lambda path: painted(path, slice(0, 0)), r"mask\.png' selects nothing: paint the pixels that count white"),
    ],
)
def test_a_mask_that_cannot_be_is_refused(
    made: Callable[[Path], object], said: str, image_root: Path, tmp_path: Path
) -> None:
    made(tmp_path / "mask.png")
    asked = ["propagator=trajectory", f"propagator.mask={tmp_path / 'mask.png'}"]
    with pytest.raises(ConfigurationError, match=said):
        preflight.check(Run(composed(*IMAGES, f"data.root={image_root}", STAGES, *asked), tmp_path, "genuq"))


def test_a_mask_of_points_is_refused(tmp_path: Path) -> None:
    asked = ["propagator=trajectory", "propagator.mask=mask.png", "stages=[train,fit,sample,propagate]"]
    with pytest.raises(ConfigurationError, match=r"propagator\.mask = 'mask\.png' needs images"):
        preflight.check(Run(composed(*POINTS, *asked), tmp_path, "genuq"))
