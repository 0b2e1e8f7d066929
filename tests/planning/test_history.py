"""Times from former runs: of this machine, and of records that can be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from genuq import files, machine
from genuq.config import schemas
from genuq.planning import history
from genuq.planning.history import History
from genuq.planning.planned import Memory
from support.plans import planned
from support.small_runs import POINTS, copied


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schemas.register()
    monkeypatch.chdir(tmp_path)


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
    monkeypatch.setattr(machine, "machine", lambda: "another")
    assert not History(points_run / "store", Memory()).rates
    assert history.NEWEST > 0


def test_records_that_cannot_be_read_are_passed_over(points_run: Path, tmp_path: Path) -> None:
    copied(points_run, tmp_path / "copy")
    for path in (tmp_path / "copy/store/runs").glob("*/*.json"):
        path.write_text("{")
    assert not History(tmp_path / "copy/store", Memory()).rates
