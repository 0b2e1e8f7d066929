"""Runs whose truth an oracle knows: images of glyphs to the page, and points by the exact score of their mixture."""

from __future__ import annotations

from pathlib import Path

from genuq.analysis.numbers import numbers_of
from genuq.analysis.results import read_evaluation
from genuq.data import glyphs, lattice_mixture
from genuq.pipeline.stages.sample import read_samples
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
    assert evaluation.truth is not None and evaluation.truth.tolerance == 4.0
    assert evaluation.truth.counts == {name: int(chosen.sum()) for name, chosen in truth.faults.items()}
    assert evaluation.samples.column("fault") == [truth.names[kind] for kind in truth.kinds]
    assert evaluation.samples.column("defect_size") == truth.defect_size.tolist()
    assert "Truth is exact here: of" in (tmp_path / "report" / "index.html").read_text()


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
    assert changed == {"evaluate"}
