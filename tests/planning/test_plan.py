"""`genuq plan`: each artefact once, what is there and what is not, disks, times, errors; and that it makes nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from genuq.cli import plan as plan_command
from genuq.config import schemas
from support.plans import planned, to_make
from support.small_runs import POINTS, copied, launch

STAGES = ["train", "posterior", "fit", "sample", "embed", "score", "evaluate"]
SWEEP = ["likelihood.observation_variance=0.1,0.2", "metric.reference_images=40,30"]


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schemas.register()
    monkeypatch.chdir(tmp_path)


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
        for images in (40, 30):
            own = [f"likelihood.observation_variance={variance}", f"metric.reference_images={images}"]
            launch(tmp_path / f"{variance}-{images}", *POINTS, store, *own)
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
    fixed = [text for text in POINTS if not text.startswith("sampler.samples")]
    arguments = ["-m", *fixed, f"store={tmp_path}/store", "sampler.samples=3,40"]
    plan = planned(capsys, *arguments, status=1)
    errors = {job["name"]: job["error"] for job in plan["jobs"]}
    assert errors["sampler.samples=3"].startswith("3 samples are too few") and errors["sampler.samples=40"] is None
    assert to_make(plan)["sample"] == 1
    plan_command.main(["--no-calibration", *arguments])
    said = " ".join(capsys.readouterr().out.split())
    assert (
        said.startswith("1 of 2 jobs") and "would stop before it starts: sampler.samples=3: 3 samples are too" in said
    )


def test_a_missing_input_is_an_error_unless_an_earlier_job_makes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["-m", *POINTS, f"store={tmp_path}/store"]
    alone, later = "[train,sample]", "[train,fit],[train,sample]"
    (job,) = planned(capsys, *common, f"stages={alone}", status=1)["jobs"]
    assert job["error"].startswith("stage 'sample' needs 'fit', which was not made under this configuration")
    assert to_make(planned(capsys, *common, f"stages={later}")) == {"train": 1, "posterior": 1, "fit": 1, "sample": 1}
