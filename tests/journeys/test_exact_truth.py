"""Runs whose truth an oracle knows: images of glyphs to the page, and points by the exact score of their mixture."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from genuq import entries
from genuq.analysis import judge_map
from genuq.analysis.evaluation_entries import read_evaluation
from genuq.analysis.numbers import numbers_of
from genuq.analysis.results import Results
from genuq.data import glyphs, lattice_mixture
from genuq.errors import ConfigurationError
from genuq.pipeline.stages.sample import read_samples
from genuq.store.shards import read_shards
from support.small_runs import COMMON, EVALUATION, EXACT, launch, run_of

GLYPHS = [
    *COMMON,
    *EVALUATION,
    "experiment=glyphs",
    "data.size=60",
    "network.channels=[8,16]",
    "trainer.steps=2",
    "trainer.batch_size=8",
    "posterior.members=2",
    "posterior.draws=2",
    "sampler.steps=2",
    "sampler.samples=24",
    "sampler.batch_size=12",
    "score.controls=[random]",
    "application=filter",
]


def test_images_are_judged_by_their_oracle_to_the_page(tmp_path: Path) -> None:
    launch(tmp_path, *GLYPHS)
    evaluation = read_evaluation(tmp_path / "evaluate")
    truth = glyphs(size=1).oracle.truth(read_samples(tmp_path / "sample")["image"])
    assert evaluation.truth is not None and evaluation.truth.tolerance == 10.0
    assert evaluation.truth.counts == {name: int(chosen.sum()) for name, chosen in truth.faults.items()}
    assert evaluation.samples.column("fault") == [truth.names[kind] for kind in truth.kinds]
    assert evaluation.samples.column("defect_size") == truth.defect_size.tolist()
    assert "Truth is exact here: of" in (tmp_path / "report" / "index.html").read_text()


def test_maps_are_judged_by_the_pixels_that_the_oracle_knows(tmp_path: Path) -> None:
    """Of the propagator, of the path and of the probe: by hand from what the stages left."""
    names = ["path_disagreement", "renoised_disagreement"]
    asked = ["score.also=[path_disagreement,renoised_disagreement,renoised_epistemic]", "score.maps=true"]
    stages = "stages=[train,fit,sample,probe,propagate,embed,score,evaluate,report]"
    glyph_run = [part for part in GLYPHS if not part.startswith("application")]
    launch(tmp_path, *glyph_run, "propagator=coherent", "propagator.draws=2", *asked, stages)
    samples = read_samples(tmp_path / "sample") | read_shards(tmp_path / "probe")
    evaluation, oracle = read_evaluation(tmp_path / "evaluate"), glyphs(size=1).oracle
    truth = oracle.truth(samples["image"])
    assert [entry.name for entry in evaluation.judged_maps] == [*names, "propagated", "edges", "random"]
    propagated = read_shards(tmp_path / "propagate")["map"][:, 0]
    maps = {name: samples[f"map.{name}"] for name in names} | {"propagated": propagated}
    for entry in evaluation.judged_maps[:3]:
        assert entry.kind == "map" and entry.faulty > 0
        chosen = maps[entry.name].double()
        found = judge_map(chosen, truth.mask, truth.parts, oracle.part_of, bootstrap=20)
        assert entry.pixels.value == pytest.approx(found.pixels.value, rel=1e-6)
        assert entry.top_share.value == pytest.approx(found.top_share.value, rel=1e-6)
        if entry.name != "propagated":  # the map is the score, spread over the pixels
            score = torch.tensor(evaluation.samples.of_score(entry.name))
            assert torch.allclose(chosen.sum((1, 2)), score.double(), rtol=1e-5)
    page = (tmp_path / "report" / "index.html").read_text()
    assert "AUROC of pixels" in page and "Edges of the sample" in page
    results = entries.read(tmp_path / "report" / "results.json", Results)
    assert results.judged_maps == evaluation.judged_maps


def test_maps_without_pixels_or_without_scores_that_leave_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"score\.maps = true, but no score of this run leaves a map"):
        launch(tmp_path, *GLYPHS, "score.maps=true")
    with pytest.raises(ConfigurationError, match=r"score\.maps = true, but the model does not run on the pixels"):
        launch(tmp_path, *EXACT, "score.maps=true", "score.also=[renoised_disagreement]")


def test_points_of_the_exact_score_are_told_apart(exact_run: Path) -> None:
    evaluation = read_evaluation(exact_run / "evaluate")
    truth = lattice_mixture(size=1).oracle.truth(read_samples(exact_run / "sample")["image"])
    faults = truth.faults
    assert evaluation.truth is not None and 0 < evaluation.truth.valid < 60
    assert evaluation.truth.counts == {name: int(chosen.sum()) for name, chosen in faults.items()}
    entropy = evaluation.score("entropy")
    assert entropy.auroc is not None and entropy.auroc.positives == int(faults["broken"].sum())
    present = {name for name, chosen in faults.items() if chosen.any()}
    assert set(entropy.detections) == present
    assert {f"entropy/auroc_of_{name}" for name in present} <= set(numbers_of(evaluation))


def test_what_counts_as_bad_changes_the_evaluation_and_its_report_alone(exact_run: Path) -> None:
    whole = run_of(exact_run, *EXACT)
    some = run_of(exact_run, *EXACT, "metric.bad=[invalid]")
    changed = {
        name for name in whole.artefacts if whole.artefacts[name].fingerprint != some.artefacts[name].fingerprint
    }
    assert changed == {"evaluate", "report"}
