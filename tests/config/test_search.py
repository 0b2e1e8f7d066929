"""Searches: the objective is a number of the study's record, a failed trial is none, and the same command goes on."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from genuq.config.compose import check_overrides, tried
from genuq.config.search import Search, search_of
from genuq.errors import ConfigurationError, SearchError
from genuq.store.records import read_records
from support.programs import command
from support.small_runs import POINTS

SEARCH = [*POINTS, "hydra/sweeper=search", "objective=entropy/auroc"]
SPACE = ["sampler.samples=3,40,30", "hydra/sweeper/sampler=random"]  # three are too few to judge


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    pytest.importorskip("optuna")
    root = tmp_path_factory.mktemp("search")
    return root, command(root, "-m", *SEARCH, *SPACE, "hydra.sweeper.n_trials=4", "hydra.sweeper.sampler.seed=1")


def search(root: Path, n_trials: int = 4) -> Search:
    sweeper: dict[str, Any] = {"n_trials": n_trials, "direction": "maximize", "study_name": "entropy/auroc"}
    sweeper["storage"] = f"sqlite:///{root}/outputs/sweeps/mixture/search.db"
    return Search("entropy/auroc", sweeper)


def test_a_trial_is_worth_its_runs_number_and_a_failed_one_nothing(
    searched: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    root, finished = searched
    assert finished.returncode == 0, finished.stderr
    trials = search(root).study().trials
    failed = [trial for trial in trials if trial.params["sampler.samples"] == "3"]
    done = [trial for trial in trials if trial.params["sampler.samples"] != "3"]
    assert len(trials) == 4 and len(failed) > 0 and len(done) > 0
    assert all(trial.state.name == "FAIL" and trial.values is None for trial in failed)
    records = {str(record.config["sampler"]["samples"]): record for record in read_records(root / "outputs" / "store")}
    for trial in done:
        number = records[trial.params["sampler.samples"]].results.numbers["entropy/auroc"]
        assert trial.state.name == "COMPLETE" and trial.value == number
    assert finished.stdout.strip().splitlines()[-1] == search(root).result()
    assert f"({len(done)} trials; {len(failed)} failed)" in search(root).result()


@pytest.mark.slow
def test_the_same_command_goes_on_with_other_trials(searched: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    root, _ = searched
    before = search(root).study().trials
    done = sum(trial.state.name == "COMPLETE" for trial in before)
    assert search(root).left() == 4 - done
    again = command(root, "-m", *SEARCH, *SPACE, "hydra.sweeper.n_trials=4", "hydra.sweeper.sampler.seed=1")
    assert again.returncode == 0 and "Traceback" not in again.stderr, again.stderr
    after = search(root).study().trials
    assert len(after) == 4 + 4 - done and after[:4] == before
    assert search(root, n_trials=done).left() <= 0


def test_a_search_that_finds_nothing_says_so(tmp_path: Path) -> None:
    optuna = pytest.importorskip("optuna")
    found = search(tmp_path)
    with pytest.raises(SearchError, match="none of the 1 trials could be finished"), found.reporting():
        study = found.study()
        study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)


def test_a_sampler_that_cannot_go_on_is_refused_before_the_first_trial() -> None:
    pytest.importorskip("optuna")
    other = "hydra.sweeper.sampler._target_=optuna.samplers.CmaEsSampler"
    with pytest.raises(ConfigurationError, match=r"CmaEsSampler is no sampler .*Known: .*TPESampler"):
        search_of(["-m", *SEARCH, "seed=0,1", other])
    with pytest.raises(ConfigurationError, match=r"hydra.sweeper.sampler: .*'startup'"):
        search_of(["-m", *SEARCH, "seed=0,1", "+hydra.sweeper.sampler.startup=1"])


def test_a_search_needs_an_objective() -> None:
    with pytest.raises(ConfigurationError, match=r"add objective=entropy/auroc"):
        search_of(["-m", "hydra/sweeper=search", "seed=0,1"])
    assert search_of(["-m", "seed=0,1"]) is None


def test_intervals_are_tried_at_both_ends_and_need_a_search() -> None:
    space = ["hydra/sweeper=search", "a.b=interval(0.5,2)", "c=x,y,z", "d=1"]
    assert [job[1:] for job in tried(space)] == [
        ("a.b=0.5", "c=x", "d=1"),
        ("a.b=2.0", "c=y", "d=1"),
        ("a.b=0.5", "c=z", "d=1"),
    ]
    with pytest.raises(ConfigurationError, match=r"Add hydra/sweeper=search"):
        check_overrides(["-m", "posterior.temperature=interval(0.1,1)"])
    with pytest.raises(ConfigurationError, match="choose hydra/sweeper=search"):
        check_overrides(["-m", "hydra/sweeper=optuna"])


def test_a_mistake_in_a_searched_value_is_found_before_the_first_trial() -> None:
    pytest.importorskip("optuna")
    with pytest.raises(ConfigurationError, match="posterior=exact_laplce"):
        check_overrides(["-m", *SEARCH, "posterior=kfac,exact_laplce"])
