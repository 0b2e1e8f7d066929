"""`genuq plan`: each artefact once, what is there and what is not, disks, times, errors; and that it makes nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hydra import compose, initialize_config_dir

from genuq import files
from genuq.cli import plan as plan_command
from genuq.config import schemas
from genuq.config.compose import config_directory
from genuq.config.sweeps import sweep_of
from genuq.errors import ConfigurationError
from genuq.parallel import collectives
from genuq.planning import calibration, history
from genuq.planning.calibration import BUDGET, STEP, Calibration
from genuq.planning.costs import Piece
from genuq.planning.history import History
from genuq.planning.plan import plan_of
from genuq.planning.planned import Memory
from support.small_runs import POINTS, copied, launch

STAGES = ["train", "posterior", "fit", "sample", "embed", "score", "evaluate"]
SWEEP = ["likelihood.observation_variance=0.1,0.2", "likelihood.normalise=true,false"]


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schemas.register()
    monkeypatch.chdir(tmp_path)


def planned(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert plan_command.main(["--json", "--no-calibration", *arguments]) == status
    return json.loads(capsys.readouterr().out)


def to_make(plan: dict[str, Any]) -> dict[str, int]:
    return {stage: row["to_make"] for stage, row in plan["stages"].items()}


def everything(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_before_a_run_all_is_to_be_made_and_afterwards_nothing(
    points_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fresh = planned(capsys, *POINTS, f"store={tmp_path}/fresh")
    assert to_make(fresh) == dict.fromkeys(STAGES, 1) and not (tmp_path / "fresh").exists()
    before = everything(points_run)
    finished = planned(capsys, *POINTS, f"store={points_run}/store")
    assert to_make(finished) == dict.fromkeys(STAGES, 0) and everything(points_run) == before
    assert finished["total"]["exist"] == len(STAGES) and finished["total"]["bytes"] == 0
    paths = {artefact["path"] for row in finished["stages"].values() for artefact in row["artefacts"]}
    assert paths == {str(path.parent) for path in (points_run / "store").glob("*/*/manifest.json")}


def test_a_changed_value_costs_only_what_lies_behind_it(points_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = planned(capsys, *POINTS, f"store={points_run}/store", "sampler.steps=4")
    assert to_make(changed) == dict.fromkeys(STAGES, 1) | {"train": 0, "posterior": 0, "fit": 0}


def test_a_sweep_plans_each_artefact_once_and_makes_just_those(
    points_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied(points_run, tmp_path / "copy")
    store = f"store={tmp_path}/copy/store"
    there = set((tmp_path / "copy/store").glob("*/*/manifest.json"))
    plan = planned(capsys, "-m", *POINTS, store, *SWEEP)
    assert len(plan["jobs"]) == 4 and len({job["name"] for job in plan["jobs"]}) == 4
    new = {"train": 0, "posterior": 0, "fit": 0, "sample": 0, "embed": 1, "score": 4, "evaluate": 4}
    assert to_make(plan) == new and plan["stages"]["embed"]["needed"] == 2 and plan["stages"]["sample"]["jobs"] == 4
    for variance in (0.1, 0.2):
        for normalised in ("true", "false"):
            own = [f"likelihood.observation_variance={variance}", f"likelihood.normalise={normalised}"]
            launch(tmp_path / f"{variance}-{normalised}", *POINTS, store, *own)
    made = {str(path.parent) for path in set((tmp_path / "copy/store").glob("*/*/manifest.json")) - there}
    promised = [artefact for row in plan["stages"].values() for artefact in row["artefacts"]]
    assert made == {artefact["path"] for artefact in promised if not artefact["exists"]}


def test_what_a_killed_run_left_is_not_planned_again(
    points_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied(points_run, tmp_path / "copy")
    store = f"store={tmp_path}/copy/store"
    (sample,) = (tmp_path / "copy/store/sample").iterdir()
    (sample / "manifest.json").unlink()
    (sample / "shard-0000032-0000040.safetensors").unlink()
    row = planned(capsys, *POINTS, store)["stages"]["sample"]
    shutil.rmtree(sample)
    whole = planned(capsys, *POINTS, store)["stages"]["sample"]
    assert row["to_make"] == 1 and row["evaluations"] == pytest.approx(whole["evaluations"] * 8 / 40)
    assert row["bytes"] < whole["bytes"] / 2


def test_a_disk_that_is_too_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*POINTS, f"store={tmp_path}/store"]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9 - 2048, 2048))
    (disk,) = planned(capsys, *arguments, status=1)["disks"]
    assert not disk["fits"] and disk["free"] == 2048 < disk["needed"] <= disk["peak"]
    assert plan_command.main(["--no-calibration", *arguments]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "does not fit: needs" in said and f"2.0 KiB free: {tmp_path}/store" in said and "store=PATH" in said
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 0, disk["peak"]))
    assert planned(capsys, *arguments)["disks"][0]["fits"]


def test_a_job_that_would_stop_is_named_and_counts_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fixed = [text for text in POINTS if not text.startswith("posterior.draws")]
    arguments = ["-m", *fixed, f"store={tmp_path}/store", "posterior.draws=1,3"]
    plan = planned(capsys, *arguments, status=1)
    errors = {job["name"]: job["error"] for job in plan["jobs"]}
    assert errors == {"posterior.draws=1": "posterior.draws = 1; at least 2 needed.", "posterior.draws=3": None}
    assert to_make(plan)["sample"] == 1
    plan_command.main(["--no-calibration", *arguments])
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith("1 of 2 jobs") and "would stop before it starts: posterior.draws=1: posterior.draws" in said


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


def test_a_missing_input_is_an_error_unless_an_earlier_job_makes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["-m", *POINTS, f"store={tmp_path}/store"]
    alone, later = "[train,sample]", "[train,fit],[train,sample]"
    (job,) = planned(capsys, *common, f"stages={alone}", status=1)["jobs"]
    assert job["error"].startswith("stage 'sample' needs 'fit', which was not made under this configuration")
    assert to_make(planned(capsys, *common, f"stages={later}")) == {"train": 1, "posterior": 1, "fit": 1, "sample": 1}


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


def test_times_come_from_runs_of_the_store_in_proportion(points_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (sample,) = (points_run / "store/sample").glob("*/manifest.json")
    seconds = max(
        files.read_json(sample)["seconds"], 40 * sum(files.read_json(sample)["notes"]["seconds_per_sample"].values())
    )
    more = ["sampler.samples=120", f"store={points_run}/store"]
    row = planned(capsys, *POINTS, *more)["stages"]["sample"]["seconds"]
    assert row["how"] == ["1 of the store"] and row["value"] == pytest.approx(3 * seconds)
    assert row["low"] < row["value"] < row["high"]
    other = planned(capsys, *POINTS, *more, "network.width=24")["stages"]["sample"]["seconds"]
    assert other["how"] == ["unknown"] and other["unknown"] == 1


def test_runs_of_another_machine_tell_nothing(points_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert History(points_run / "store", Memory()).rates
    monkeypatch.setattr(collectives, "machine", lambda: "another")
    assert not History(points_run / "store", Memory()).rates
    assert history.NEWEST > 0


def test_records_that_cannot_be_read_are_passed_over(points_run: Path, tmp_path: Path) -> None:
    copied(points_run, tmp_path / "copy")
    for path in (tmp_path / "copy/store/runs").glob("*/*.json"):
        path.write_text("{")
    assert not History(tmp_path / "copy/store", Memory()).rates


def test_a_calibration_measures_every_stage_of_a_run_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan_command.main([*POINTS, f"store={tmp_path}/store"]) == 0
    said = capsys.readouterr().out
    assert said.count("measured") >= 4 and "unknown" not in said and "could not be measured" not in said
    assert not list(tmp_path.iterdir())


def test_beyond_its_budget_a_calibration_derives_what_it_can(tmp_path: Path) -> None:
    plan = plan_of([*POINTS, f"store={tmp_path}/store"], sweeping=False)
    run = plan.to_make[0].run
    spent = Calibration(spent=BUDGET)
    assert spent.seconds(run, Piece("step", 7, 32)) is None  # not even the forward pass is known
    measured = Calibration()
    row = measured.forward(run, 32)
    measured.spent = BUDGET
    assert row and measured.seconds(run, Piece("step", 7, 32)) == pytest.approx(7 * 32 * STEP * row)
    assert measured.seconds(run, Piece("judge", 7, 32)) is None and measured.seconds(run, Piece("rule", 7)) == 7


def test_what_fails_while_it_is_measured_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> float:
        raise RuntimeError("no memory left\nand more")

    monkeypatch.setitem(calibration.MEASURES, "judge", (fails, calibration.MEASURES["judge"][1]))
    plan = plan_of([*POINTS, f"store={tmp_path}/store"], sweeping=False)
    plan.estimate(calibrate=True)
    assert plan.failures == {"judge": "no memory left"}
    assert [one.name for one in plan.to_make if plan.estimates[one.folder.path].seconds is None] == ["embed"]
