"""The shipped networks of mixtures: independent trainings on modes of the width that their name says."""

from __future__ import annotations

from pathlib import Path

import pytest

from genuq import load_reference
from genuq.data import load
from genuq.data.truth import BROKEN
from genuq.errors import ConfigurationError
from genuq.models import Sampler, sample
from genuq.pipeline.configured import checkpoint_path, reference_name
from genuq.pipeline.named_files import check_named_files
from genuq.pipeline.run import Run
from genuq.pipeline.stages.members import member_settings
from genuq.solvers import build
from support.shipped import check_post_hoc_members, check_six_trainings
from support.small_runs import composed

DIMENSIONS = [2, 8, 32]
WIDTH = 0.1


def data_of(dimension: int) -> str:
    return f"lattice_mixture_d{dimension}_sd{WIDTH}"


def name_of(dimension: int) -> str:
    return f"flow_matching_{data_of(dimension)}"


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_there_are_six_and_each_is_a_training_of_its_own(dimension: int) -> None:
    check_six_trainings(name_of(dimension))


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_post_hoc_members_lie_near_the_model_and_apart(dimension: int) -> None:
    check_post_hoc_members(load_reference("flow_matching", data_of(dimension)), name_of(dimension))


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_samples_lie_by_the_modes_that_the_data_have(dimension: int) -> None:
    model = load_reference("flow_matching", data_of(dimension))
    data = load("lattice_mixture", size=512, dimension=dimension, standard_deviation=WIDTH)
    assert data.oracle is not None
    sampler = Sampler(build("euler"), 25, seed=5)
    made, noise = sample(model, sampler, range(512)), sampler.initial_noise(model, range(512))
    good, by_chance = (float((~data.oracle.truth(points).of(BROKEN)).double().mean()) for points in (made, noise))
    assert 2 * by_chance < good < 1


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_a_configuration_chooses_them_by_name(dimension: int, tmp_path: Path) -> None:
    members = ["posterior=deep_ensemble", "posterior.checkpoints=reference", "posterior.draws=5"]
    run = run_of(dimension, tmp_path, f"data.standard_deviation={WIDTH}", *members)
    check_named_files(run)
    assert checkpoint_path(run).name == f"{name_of(dimension)}.safetensors"
    files = member_settings(run, run.posteriors()["draws"]).given(reference_name(run))
    assert [path.name for path in files] == [f"{name_of(dimension)}_deep_ensemble_{k}.safetensors" for k in range(5)]


@pytest.mark.parametrize("other", ["data.standard_deviation=0.02", "data.modes=20", "data.spacing=3.0"])
def test_networks_of_other_modes_are_not_taken(other: str, tmp_path: Path) -> None:
    run = run_of(2, tmp_path, f"data.standard_deviation={WIDTH}", other, "posterior=exact_laplace")
    with pytest.raises(ConfigurationError, match=rf"no reference checkpoint .* Did you mean '{name_of(2)}"):
        checkpoint_path(run)


def run_of(dimension: int, folder: Path, *overrides: str) -> Run:
    chosen = [f"experiment=mixture_d{dimension}", "model.checkpoint=reference", "stages=[fit]", f"store={folder}/store"]
    return Run(composed(*chosen, *overrides), folder, "genuq")
