"""The shipped networks of data whose samples rules judge: independent trainings that draw what the rules ask for."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import Tensor

from genuq import load_reference
from genuq.data import load
from genuq.data.truth import BROKEN, RULE_BROKEN
from genuq.models import GenerativeModel, Sampler, sample
from genuq.pipeline.configured import checkpoint_path, reference_name
from genuq.pipeline.named_files import check_named_files
from genuq.pipeline.run import Run
from genuq.pipeline.stages.members import member_settings
from genuq.solvers import build
from support.shipped import check_post_hoc_members, check_six_trainings, of_one_training
from support.small_runs import composed

DATA = ["glyphs", "shapes", "triangles"]
EARLY = ["shapes", "triangles"]


def faults(model: GenerativeModel, data: str, samples: int = 48) -> dict[str, Tensor]:
    oracle = load(data, size=1).oracle
    assert oracle is not None
    made = sample(model, Sampler(build("dpm_solver_pp_2m"), 10, seed=5), range(samples))
    truth = oracle.truth(made)
    return {name: truth.of(name) for name in (BROKEN, RULE_BROKEN)}


@pytest.mark.parametrize("data", DATA)
def test_there_are_six_and_each_is_a_training_of_its_own(data: str) -> None:
    check_six_trainings(f"flow_matching_{data}")


@pytest.mark.parametrize("data", DATA)
def test_they_draw_what_the_rules_ask_for_but_not_always(data: str) -> None:
    found = faults(load_reference("flow_matching", data), data)
    assert float(found[BROKEN].double().mean()) < 0.7 and any(fault.any() for fault in found.values())
    assert not found[BROKEN].all() and not found[RULE_BROKEN].all()


@pytest.mark.parametrize("data", EARLY)
def test_the_early_checkpoint_is_of_the_same_training_and_draws_worse(data: str) -> None:
    model, early = (load_reference("flow_matching", name) for name in (data, f"{data}_early"))
    assert faults(early, data)[BROKEN].sum() > faults(model, data)[BROKEN].sum() + 12
    assert of_one_training(model, early)


@pytest.mark.parametrize("data", DATA)
def test_post_hoc_members_lie_near_the_model_and_apart(data: str) -> None:
    check_post_hoc_members(load_reference("flow_matching", data), f"flow_matching_{data}")


@pytest.mark.parametrize("data", DATA)
def test_a_configuration_chooses_them_by_name(data: str, tmp_path: Path) -> None:
    chosen = [f"experiment={data}", "model.checkpoint=reference", "posterior.checkpoints=reference", "stages=[fit]"]
    run = Run(composed(*chosen, f"store={tmp_path}/store"), tmp_path, "genuq")
    check_named_files(run)
    assert checkpoint_path(run).name == f"flow_matching_{data}.safetensors"
    members = member_settings(run, run.posteriors()["draws"]).given(reference_name(run))
    assert [path.name for path in members] == [f"flow_matching_{data}_deep_ensemble_{k}.safetensors" for k in range(5)]
