"""The sweeper of searches: the trials of an interrupted search are those of one that was not."""

from __future__ import annotations

import contextlib
import math
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus

from genuq.config import optuna_sweeper
from genuq.config.optuna_sweeper import OptunaSweeper, distribution_of, job_of, open_study
from genuq.errors import ConfigurationError

optuna = pytest.importorskip("optuna")
SPACE = ["a=interval(-1,1)", "fixed=x", "b=p,q,r", "c=range(2,12,3)"]
TPE = {"_target_": "optuna.samplers.TPESampler", "seed": 3, "n_startup_trials": 4}
RANDOM = {"_target_": "optuna.samplers.RandomSampler", "seed": 3}


class Interruption(BaseException):
    """The end of the process, as ctrl-C brings it."""


class Launcher:
    """Runs jobs by calling a function; ends the process at the job with a given number."""

    def __init__(self, objective: Callable[[dict[str, str]], float], ends_at: int | None = None) -> None:
        self.objective, self.ends_at = objective, ends_at
        self.launched: list[Sequence[str]] = []
        self.batches: list[int] = []

    def launch(self, jobs: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        if self.ends_at is not None and initial_job_idx <= self.ends_at < initial_job_idx + len(jobs):
            raise Interruption
        self.batches.append(len(jobs))
        self.launched += jobs
        return [self.returned(job) for job in jobs]

    def returned(self, job: Sequence[str]) -> JobReturn:
        try:
            value = self.objective(dict(text.split("=") for text in job))
        except ArithmeticError as error:
            return JobReturn(status=JobStatus.FAILED, _return_value=error)
        return JobReturn(status=JobStatus.COMPLETED, _return_value=value)


def peak(job: dict[str, str]) -> float:
    """Highest at a = 0.3, b = q, c = 8."""
    return (job["b"] == "q") - (float(job["a"]) - 0.3) ** 2 - abs(int(job["c"]) - 8) / 10


def sparse(job: dict[str, str]) -> float:
    if job["b"] == "p":
        raise ZeroDivisionError
    return math.nan if job["b"] == "r" else peak(job)


def place(folder: Path, direction: str = "maximize") -> dict[str, str]:
    return {"storage": f"sqlite:///{folder}/sub/search.db", "study_name": "fid", "direction": direction}


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Databases that live as long as the test, for speed."""
    storages: dict[str, Any] = {}

    def open_study(place: dict[str, str]) -> Any:
        storage = storages.setdefault(place["storage"], optuna.storages.InMemoryStorage())
        return optuna.create_study(**{**place, "storage": storage}, load_if_exists=True)

    monkeypatch.setattr(optuna_sweeper, "open_study", open_study)


def searched(folder: Path, launcher: Launcher, space: Sequence[str] = SPACE, **options: Any) -> list[Any]:
    """The trials after a command."""
    sweeper = OptunaSweeper(**place(folder), **{"n_trials": 12, "n_jobs": 1, "sampler": TPE, **options})
    sweeper.launcher = launcher  # type: ignore[assignment]
    with contextlib.suppress(Interruption):
        sweeper.sweep(list(space))
    return optuna_sweeper.open_study(place(folder)).trials


def told(trials: Sequence[Any]) -> list[tuple[Any, ...]]:
    return [(trial.number, trial.state.name, trial.params, trial.value) for trial in trials]


@pytest.mark.usefixtures("in_memory")
@pytest.mark.parametrize("sampler", [TPE, RANDOM], ids=["tpe", "random"])
@pytest.mark.parametrize("n_jobs", [1, 3])
def test_an_interrupted_search_has_the_trials_of_one_that_was_not(
    sampler: dict[str, Any], n_jobs: int, tmp_path: Path
) -> None:
    whole = searched(tmp_path / "whole", Launcher(peak), sampler=sampler, n_jobs=n_jobs)
    assert len(whole) == 12 and len({trial.params["a"] for trial in whole}) == 12
    for ends_at in (0, 5, 7, None):
        parts = searched(tmp_path / "parts", Launcher(peak, ends_at), sampler=sampler, n_jobs=n_jobs)
    assert told(parts) == told(whole)
    assert told(searched(tmp_path / "again", Launcher(peak), sampler=sampler, n_jobs=n_jobs)) == told(whole)
    other = searched(tmp_path / "other", Launcher(peak), sampler={**sampler, "seed": 4}, n_jobs=n_jobs)
    assert not {trial.params["a"] for trial in other} & {trial.params["a"] for trial in whole}


def test_an_interrupted_search_is_told_by_its_database(tmp_path: Path) -> None:
    whole = searched(tmp_path / "whole", Launcher(peak), n_trials=3)
    for ends_at in (1, None):
        parts = searched(tmp_path / "parts", Launcher(peak, ends_at), n_trials=3)
    assert told(parts) == told(whole) and len(whole) == 3


@pytest.mark.usefixtures("in_memory")
def test_tpe_finds_a_better_place_than_chance(tmp_path: Path) -> None:
    found = max(trial.value for trial in searched(tmp_path / "tpe", Launcher(peak), n_trials=40))
    chance = max(trial.value for trial in searched(tmp_path / "random", Launcher(peak), n_trials=40, sampler=RANDOM))
    assert found > max(chance, 0.99)


@pytest.mark.usefixtures("in_memory")
def test_failed_trials_have_no_value_and_the_next_command_makes_up_for_them(tmp_path: Path) -> None:
    first = searched(tmp_path, Launcher(sparse), sampler=RANDOM)
    assert len(first) == 12
    for trial in first:
        done = trial.params["b"] == "q"
        assert (trial.state.name, trial.value is not None) == (("COMPLETE", True) if done else ("FAIL", False))
    launcher = Launcher(peak)
    second = searched(tmp_path, launcher, sampler=RANDOM)
    assert len(launcher.launched) == sum(trial.state.name == "FAIL" for trial in first) > 0
    assert told(second)[:12] == told(first)
    assert searched(tmp_path, Launcher(peak), sampler=RANDOM) == second


@pytest.mark.usefixtures("in_memory")
def test_an_error_that_no_job_has_explained_is_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    searched(tmp_path, Launcher(sparse), ["b=p"], n_trials=1)
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.usefixtures("in_memory")
def test_jobs_are_the_command_with_the_values_of_the_trial_in_batches(tmp_path: Path) -> None:
    launcher = Launcher(peak)
    trials = searched(tmp_path, launcher, n_jobs=5)
    assert launcher.batches == [5, 5, 2]
    for trial, job in zip(trials, launcher.launched):
        assert [text.split("=")[0] for text in job] == ["a", "fixed", "b", "c"]
        assert job[1] == "fixed=x" and job[2] == f"b={trial.params['b']}"
        assert float(job[0].removeprefix("a=")) == pytest.approx(trial.params["a"], rel=1e-14)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1,2.5,null,true,[3,4]", ["1", "2.5", "null", "True", "[3,4]"]),
        ("a=shuffle(b,a,c)", ["a", "b", "c"]),
        ("a=range(2,12,3)", {2, 5, 8, 11}),
        ("a=range(5,1,-2)", {3, 5}),
        ("a=range(0,0.5,0.1)", {0.0, 0.1, 0.2, 0.3, 0.4}),
        ("a=int(interval(1,3))", {1, 2, 3}),
        ("a=interval(1,3)", (1.0, 3.0, False)),
        ("a=tag(log,interval(1e-3,10))", (1e-3, 10.0, True)),
    ],
)
def test_every_kind_of_sweep_is_searched_among_the_values_that_it_lists(text: str, expected: Any) -> None:
    (override,) = overrides = OverridesParser.create().parse_overrides([text])
    found = distribution_of(override)
    if isinstance(expected, list):
        assert list(found.choices) == expected
    elif isinstance(expected, tuple):
        assert (found.low, found.high, found.log) == expected and found.step is None
    else:
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
        values = {job_of(overrides, study.ask({"a": found}).params)[0].removeprefix("a=") for _ in range(100)}
        assert values == set(map(str, expected))


def test_values_other_than_before_are_refused(tmp_path: Path) -> None:
    searched(tmp_path, Launcher(peak), n_trials=2)
    for space in (["a=interval(-1,1)", "b=p,q", "c=range(2,12,3)"], SPACE[:-1], [*SPACE, "d=1,2"]):
        with pytest.raises(ConfigurationError, match=r"chose among other values.*study_name"):
            searched(tmp_path, Launcher(peak), space)


def test_a_study_of_the_other_direction_or_of_another_optuna_is_refused(tmp_path: Path) -> None:
    open_study(place(tmp_path))
    with pytest.raises(ConfigurationError, match="direction=minimize: this search was begun with maximize"):
        open_study(place(tmp_path, "minimize"))
    with sqlite3.connect(tmp_path / "sub" / "search.db") as database:
        database.execute("update alembic_version set version_num = 'v2.6.0.a'")
        database.execute("update version_info set library_version = '2.10.1'")
    with pytest.raises(ConfigurationError, match=r"written by another Optuna than .*optuna storage upgrade"):
        open_study(place(tmp_path))


@pytest.mark.usefixtures("in_memory")
def test_a_seed_of_null_is_a_search_like_no_other(tmp_path: Path) -> None:
    values = [
        searched(tmp_path / name, Launcher(peak), n_trials=1, sampler={**RANDOM, "seed": None})[0].params["a"]
        for name in "ab"
    ]
    assert values[0] != values[1]


def test_hydra_knows_the_sweeper() -> None:
    assert "hydra_plugins.genuq_search.SearchSweeper" in Plugins.instance().class_name_to_class
