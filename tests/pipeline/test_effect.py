"""What was typed and changes nothing is said, once for each key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from genuq.config.job import Job
from genuq.pipeline.effect import without_effect
from genuq.pipeline.run import Run
from support.small_runs import POINTS, composed


@pytest.mark.parametrize(
    ("stages", "typed", "said"),
    [
        ("[fit,sample]", "trainer.learning_rate=0.1", r"only train, judge read it, and stages = \[fit, sample\]"),
        ("[sample]", "trainer.start_from=a.safetensors", "only train read it"),
        ("[train]", "posterior=kfac", "only fit, sample"),
        ("[train]", "likelihood=pixel", "only embed, score, evaluate, apply"),
        ("[train]", "trainer.judge_steps=3", "only judge"),
        ("[train]", "trainer.steps=3", None),
        ("[fit]", "trainer.precision=bf16-mixed", None),
        ("[sample]", "trainer.devices=2", None),
        ("[sample]", "trainer.accelerator=cpu", "only train, judge"),
        ("[judge]", "trainer.learning_rate=0.1", None),
        ("[report]", "seed=3", None),
        ("[evaluate]", "metric=points", None),
        ("[pilot]", "score.budget=1.25", None),
        ("[probe]", "score.lid_times=[0.2]", None),
    ],
)
def test_a_key_that_no_stage_reads_is_named(stages: str, typed: str, said: str | None, tmp_path: Path) -> None:
    run = Run(composed(*POINTS, f"stages={stages}"), tmp_path, "genuq", Job(overrides=(f"stages={stages}", typed)))
    found = list(without_effect(run))
    assert len(found) == (said is not None) and all(text.startswith(f"{typed} has no effect here: ") for text in found)
    assert all(re.search(said or "", text) for text in found)


@pytest.mark.parametrize(
    ("stages", "checkpoint", "said"),
    [("[train,fit]", "a.safetensors", True), ("[fit]", "a.safetensors", False), ("[train,fit]", "null", False)],
)
def test_a_checkpoint_beside_a_training_is_named(stages: str, checkpoint: str, said: bool, tmp_path: Path) -> None:
    typed = f"model.checkpoint={checkpoint}"
    run = Run(composed(*POINTS, f"stages={stages}", typed), tmp_path, "genuq", Job(overrides=(typed,)))
    found = list(without_effect(run))
    assert len(found) == said and all("Leave train out of stages" in text for text in found)


def test_members_read_the_trainer(tmp_path: Path) -> None:
    config = composed(*[text for text in POINTS if "posterior." not in text], "posterior=deep_ensemble", "stages=[fit]")
    run = Run(config, tmp_path, "genuq", Job(overrides=("trainer.steps=3", "trainer.learning_rate=0.1")))
    assert list(without_effect(run)) == []
