"""The stage `sample`: draws as float16 deviations, samples as a person sees them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from genuq.models import to_bytes
from genuq.pipeline.stages.sample import draws_of, read_samples, shown, with_deviations
from genuq.store.shards import read_shards
from support.small_runs import POINTS, composed, run_of


def test_draws_are_kept_as_deviations_from_the_sample() -> None:
    source = torch.Generator().manual_seed(0)
    image, draws = torch.randn(3, 1, 2, 2, generator=source), torch.randn(3, 5, 1, 2, 2, generator=source)
    stored = {"index": torch.arange(3), "image": image, "draws": (1e-3 * draws).half()}
    found = with_deviations(stored)
    assert found["draws"].dtype == torch.float32 and torch.equal(found["image"], image)
    torch.testing.assert_close(found["draws"], image[:, None] + 1e-3 * draws, rtol=0, atol=1e-5)


def test_a_finished_stage_has_every_sample_in_order_and_as_many_draws_as_asked(points_run: Path) -> None:
    run = run_of(points_run, *POINTS)
    samples, stored = read_samples(run.path("sample")), read_shards(run.path("sample"))
    assert samples["index"].tolist() == list(range(40)) and samples["image"].shape == (40, 2)
    assert samples["draws"].shape == (40, draws_of(run, "draws"), 2) and stored["draws"].dtype == torch.float16
    assert draws_of(run, "jitter") == 2  # a control has as many as the main posterior
    assert composed(*POINTS).posterior.draws == 2


@pytest.mark.parametrize("are_images", [True, False])
def test_images_are_shown_as_bytes_and_points_as_they_are(are_images: bool) -> None:
    samples = torch.linspace(-1, 1, 8).reshape(2, 1, 2, 2)
    assert torch.equal(shown(samples, are_images), to_bytes(samples) if are_images else samples)
