"""The shipped networks that hardly saw, or never saw, a class: sound ones, and of that class they know less than those
that saw it."""

from __future__ import annotations

from pathlib import Path

import pytest

from genuq import load_reference
from genuq.data import Subset, fashion_mnist
from genuq.models import GenerativeModel
from genuq.pipeline.configured import checkpoint_path, reference_name
from genuq.pipeline.named_files import check_named_files
from genuq.pipeline.run import Run
from genuq.pipeline.shared_scores import weak_checkpoint
from genuq.pipeline.stages.members import member_settings
from genuq.training.ensembles import residual_variance
from support.shipped import check_post_hoc_members, check_six_trainings, networks_of, of_one_training
from support.small_runs import composed

NAME, BAG = "flow_matching_fashion_mnist", 8
KINDS = ["starved", "unseen"]
ALL_KINDS = [*KINDS, "seen"]  # the last saw every class, and is trained in the same way


def loss(model: GenerativeModel, bags: bool) -> float:
    """On test images of bags, or on others."""
    test_set = fashion_mnist("test")
    rows = ((test_set.labels == BAG) == bags).nonzero()[:, 0]
    return residual_variance(model, Subset(test_set, rows), seed=0, images=192)


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_there_are_six_of_each_and_each_is_a_training_of_its_own(kind: str) -> None:
    check_six_trainings(f"{NAME}_{kind}")


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_post_hoc_members_lie_near_the_model_and_apart(kind: str) -> None:
    check_post_hoc_members(load_reference("flow_matching", f"fashion_mnist_{kind}"), f"{NAME}_{kind}")


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_the_early_checkpoint_is_the_same_network_and_knows_less(kind: str) -> None:
    model, early = (load_reference("flow_matching", f"fashion_mnist_{name}") for name in (kind, f"{kind}_early"))
    assert loss(early, bags=False) > 1.1 * loss(model, bags=False)
    assert of_one_training(model, early)


@pytest.mark.parametrize("kind", KINDS)
def test_of_what_a_network_hardly_saw_it_knows_less_beside_all_else(kind: str) -> None:
    whole = load_reference("flow_matching", "fashion_mnist_seen")
    usual = loss(whole, bags=True) / loss(whole, bags=False)  # bags are harder than others anyway
    for one in networks_of(f"{NAME}_{kind}"):
        assert loss(one, bags=True) / loss(one, bags=False) > 1.1 * usual


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_a_configuration_chooses_them_by_name(kind: str, tmp_path: Path) -> None:
    chosen = [
        *("model=flow_matching", "network.channels=[24,56]", f"model.checkpoint=reference:{kind}", "stages=[fit]"),
        *("posterior=deep_ensemble", f"posterior.checkpoints=reference:{kind}"),
        *("score=weak_model_gap", f"score.weak_checkpoint=reference:{kind}_early", f"store={tmp_path}/store"),
    ]
    run = Run(composed(*chosen), tmp_path, "genuq")
    check_named_files(run)
    assert checkpoint_path(run).name == f"{NAME}_{kind}.safetensors"
    weak = weak_checkpoint(run)
    assert weak is not None and weak.name == f"{NAME}_{kind}_early.safetensors"
    members = member_settings(run, run.posteriors()["draws"]).given(reference_name(run))
    assert [path.name for path in members] == [f"{NAME}_{kind}_deep_ensemble_{k}.safetensors" for k in range(5)]
