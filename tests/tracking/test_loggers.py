"""The loggers look on: they write what the stages have left, and nothing where none is asked for."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from genuq import files
from support.small_runs import POINTS, copied, launch


def test_csv_holds_the_numbers_of_the_table_and_the_scale(points_run: Path) -> None:
    with open(points_run / "logs" / "evaluation.csv", newline="") as file:
        logged = {row["name"]: float(row["value"]) for row in csv.DictReader(file)}
    evaluation = files.read_json(points_run / "evaluate" / "evaluation.json")
    scale = files.read_json(points_run / "fit" / "manifest.json")["notes"]["posteriors"]["draws"]["scale"]
    for row in evaluation["summary"]["table"]:
        assert logged[f"{row['score']}/auroc"] == row["auroc"]
    assert logged["fid"] == evaluation["scores"][0]["curves"]["fid"]["value"][0]
    assert logged["posterior/temperature"] == scale["temperature"]


def test_without_a_logger_nothing_is_logged(points_run: Path, tmp_path: Path) -> None:
    """Where a run with one, to the same end, has its logs."""
    assert list((points_run / "logs").rglob("*.csv"))
    folder = copied(points_run, tmp_path / "run")
    shutil.rmtree(folder / "logs")
    launch(folder, *POINTS, "logger=none")
    assert (folder / "evaluate" / "evaluation.json").exists() and not (folder / "logs").exists()


def test_wandb_is_not_imported_unless_it_is_asked_for() -> None:
    program = "import sys, genuq.pipeline.execute; sys.exit('wandb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("override", ["logger.name=wandbb", "logger.mode=sometimes", "logger.samples=1"])
def test_what_no_logger_can_do_is_refused_before_any_work(override: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=override.split("=")[0]):
        launch(tmp_path / "run", *POINTS, "logger=wandb", override)
    assert not (tmp_path / "run" / "train").exists()
