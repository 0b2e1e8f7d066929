"""`genuq plan`: what is typed, and what cannot be planned."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from genuq.cli import plan as plan_command
from genuq.config import schemas
from genuq.config.compose import config_directory
from genuq.config.sweeps import sweep_of
from genuq.errors import ConfigurationError
from support.plans import planned, to_make
from support.small_runs import POINTS


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schemas.register()
    monkeypatch.chdir(tmp_path)


def test_m_may_stand_between_the_overrides_and_jobs_are_called_as_hydra_calls_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [*(text for text in POINTS if text != "seed=3"), f"store={tmp_path}/store", "seed=0,1", "data=mixture8"]
    plan = planned(capsys, *texts[:-2], "-m", *texts[-2:])
    assert [job["name"] for job in plan["jobs"]] == ["seed=0", "seed=1"] and to_make(plan)["train"] == 2
    sweep = sweep_of(["-m", *texts])
    assert sweep and sweep.jobs
    with initialize_config_dir(str(config_directory()), version_base="1.3"):
        for job in sweep.jobs:
            config = compose("config", overrides=[*job, *sweep.arguments(texts)], return_hydra_config=True)
            assert config.hydra.job.override_dirname == sweep.job_name(job)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sampler.stepz=3"], "Did you mean 'steps'"),
        (["-m", "posterior=exakt,map"], "posterior=exakt: there is no such option"),
        (["seed=1,2"], "add -m"),
        (["-m", "hydra/sweeper=basic", "hydra.sweeper.max_batch_size=1", "seed=1,2"], "hydra/sweeper"),
    ],
)
def test_overrides_that_cannot_be_planned(arguments: list[str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        plan_command.main(["--no-calibration", *arguments])
