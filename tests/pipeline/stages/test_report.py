"""The stage `report`: its results are those that the other stages left."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

import genuq
from genuq import entries, files
from genuq.analysis.evaluation_entries import read_evaluation
from genuq.analysis.results import Results
from genuq.pipeline.stages.report import display_path, versions


def test_a_path_is_shown_from_where_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert display_path(tmp_path / "run" / "index.html") == "run/index.html"
    assert display_path(tmp_path.parent / "index.html") == str(tmp_path.parent / "index.html")
    assert versions()["torch"] == torch.__version__


def test_results_are_gathered_from_the_stages(images_run: Path) -> None:
    results = entries.read(images_run / "report" / "results.json", Results)
    evaluation = read_evaluation(images_run / "evaluate")
    assert (results.summary, results.judge, results.scores) == (
        evaluation.summary,
        evaluation.judge,
        evaluation.scores,
    )
    notes = {stage: files.read_json(images_run / stage / "manifest.json")["notes"] for stage in ("fit", "sample")}
    scale = notes["fit"]["posteriors"]["draws"]["scale"]
    assert results.posterior == results.posteriors[0] and results.posterior.scale.temperature == scale["temperature"]
    assert results.posterior.cost.draw_seconds == pytest.approx(24 * notes["sample"]["seconds_per_sample"]["draws"])
    assert results.posterior.cost.evaluations == 2 * notes["sample"]["evaluations_per_sample"]
    doubts = notes["fit"]["posteriors"]["draws"]["doubts"]
    assert list(results.warnings)[: len(doubts)] == doubts
    weights, _ = files.read_tensors(images_run / "train" / "model.safetensors")
    assert results.genuq_version == genuq.__version__ and results.maps is None and results.application is None
    assert 0 < results.model.parameters <= sum(math.prod(value.shape) for value in weights.values())
    assert list(results.data.class_names) == ["bottom", "top"] and results.sampler.steps == 2
