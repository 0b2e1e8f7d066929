"""The stage `score`: columns recomputed from what the run has stored."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from genuq import files
from genuq.pipeline.columns import score_columns
from genuq.pipeline.run import Run
from genuq.pipeline.stages.embed import read_embeddings
from genuq.pipeline.stages.score import as_number, draws_inputs, read_scores
from genuq.scores import entropy
from support.small_runs import POINTS, composed, run_of


def test_the_runs_own_column_is_the_entropy_of_its_embedded_draws(points_run: Path) -> None:
    run = run_of(points_run, *POINTS)
    scores, embeddings = read_scores(run.path("score")), read_embeddings(run.path("embed"))
    assert set(scores) == set(score_columns(run))
    assert all(column.shape == (40,) and column.dtype == torch.float64 for column in scores.values())
    seen = torch.cat([embeddings["image"][:, None], embeddings["draws"]], dim=1)  # the default of the likelihood
    variance = files.read_json(run.path("score") / "manifest.json")["notes"]["observation_variance"]
    torch.testing.assert_close(scores["entropy"], entropy(seen, variance), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("included", [True, False])
def test_the_unperturbed_sample_stands_before_the_draws_where_it_counts(included: bool, tmp_path: Path) -> None:
    run = Run(composed(*POINTS, f"likelihood.include_unperturbed={str(included).lower()}"), tmp_path, "genuq")
    image, draws = torch.randn(4, 2), torch.randn(4, 3, 2)
    found = draws_inputs(run).of({"image": image, "draws": draws}, "draws")
    assert torch.equal(found, torch.cat([image[:, None], draws], 1) if included else draws)


def test_a_variance_of_each_feature_is_told_by_its_mean() -> None:
    assert as_number(0.25) == 0.25 and as_number(torch.tensor([0.0, 1.0])) == 0.5
