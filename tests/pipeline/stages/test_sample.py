"""The stage `sample`: draws as float16 deviations, samples as a person sees them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from genuq import files
from genuq.identity import identity_of
from genuq.models import to_bytes
from genuq.pipeline.stages.sample import DrawnRows, Sample, draws_of, read_samples, shown, with_deviations
from genuq.pipeline.stages.score import read_scores
from genuq.store.shards import read_shards
from support.small_runs import POINTS, composed, copied, launch, run_of


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


# Whether the samples are made anew under the draws

ONCE = [
    "stages=[train,fit,sample,probe,embed,score,evaluate,report]",
    *("score=path_disagreement", "score.controls=[random]"),
]


@pytest.fixture(scope="module")
def made_once_only(points_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run on the mixture again, with scores of the path and the probe alone."""
    folder = copied(points_run, tmp_path_factory.mktemp("once") / "points")
    launch(folder, *POINTS, *ONCE, "score.also=[lid]")
    return folder


def test_samples_are_made_anew_only_where_a_score_compares_them(points_run: Path, made_once_only: Path) -> None:
    anew, once = read_samples(points_run / "sample"), read_samples(made_once_only / "sample")
    assert torch.equal(once["image"], anew["image"]) and "draws" in anew and "draws" not in once
    assert not any("draws" in name for name in files.read_json(made_once_only / "sample" / "manifest.json")["notes"])
    page = (made_once_only / "report" / "index.html").read_text()
    assert "each made once" in page and "regenerated under" not in page


def test_rows_of_draws_are_those_of_all(points_run: Path, made_once_only: Path) -> None:
    all_draws, rows = read_samples(points_run / "sample")["draws"], DrawnRows(points_run / "sample", are_images=False)
    assert rows.shape == all_draws.shape and torch.equal(rows[[5, 0, 5]], all_draws[[5, 0, 5]])
    none = DrawnRows(made_once_only / "sample", are_images=False)
    assert none.shape == (len(all_draws), 0, 2) and none[[1, 2]].shape == (2, 0, 2)


def test_what_was_made_anew_before_keeps_its_identity(points_run: Path, made_once_only: Path) -> None:
    of_draws, of_path = (
        identity_of(Sample().inputs(run))
        for run in (run_of(points_run, *POINTS), run_of(made_once_only, *POINTS, *ONCE, "score.also=[lid]"))
    )
    assert "idle" not in of_draws and of_path["idle"] == ["draws"]


def test_a_score_is_the_same_whether_samples_are_made_anew_or_not(made_once_only: Path, tmp_path: Path) -> None:
    folder = copied(made_once_only, tmp_path / "points")
    launch(folder, *POINTS, *ONCE, "score.also=[lid,entropy]")
    both, alone = (read_scores(path / "score") for path in (folder, made_once_only))
    assert "entropy" in both and "entropy" not in alone
    assert all(torch.equal(alone[name], both[name]) for name in ("path_disagreement", "lid"))
