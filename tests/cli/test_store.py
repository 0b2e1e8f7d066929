"""`genuq store`: what it lists, shows and deletes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from genuq.cli import store as store_command
from genuq.errors import ConfigurationError
from genuq.store.store import Store
from support.small_runs import POINTS, launch


def names(store: Path) -> set[str]:
    return {artefact.name for artefact in Store(store).artefacts()}


def test_prune_gives_up_runs_whose_folders_are_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (3, 4):
        launch(tmp_path / f"run-{seed}", *POINTS, f"store={tmp_path}/store", f"seed={seed}", "stages=[train,fit]")
    before = names(tmp_path / "store")
    shutil.rmtree(tmp_path / "run-4")
    arguments = ["prune", "--store", str(tmp_path / "store")]
    assert store_command.main(arguments) == 0
    assert "--yes" in capsys.readouterr().out and names(tmp_path / "store") == before
    store_command.main([*arguments, "--yes"])
    kept = Store(tmp_path / "store")
    assert len(kept.artefacts()) == 3 and {run for a in kept.artefacts() for run in a.runs} == {"mixture/mixture"}
    assert len(list(kept.records())) == 1


def test_list_and_show_say_what_there_is(points_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = ["--store", str(points_run / "store")]
    store_command.main(["list", "--stage", "sample", *store])
    listed = capsys.readouterr().out
    (sample,) = (points_run / "store" / "sample").iterdir()
    assert sample.name[:12] in listed and "mixture" in listed and "1 artefacts" in listed and "train/" not in listed
    store_command.main(["show", sample.name[:8], *store])
    assert '"evaluations_per_sample"' in capsys.readouterr().out
    with pytest.raises(ConfigurationError, match="'nothing' names 0 artefacts"):
        store_command.main(["show", "nothing", *store])
    with pytest.raises(ConfigurationError, match=r"--store .*nowhere: there is no such folder"):
        store_command.main(["list", "--store", str(points_run / "nowhere")])


def test_prune_keeps_what_belongs_to_a_renamed_sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its records say the old folder; its links still lead into the store. A run beside it that is gone stays gone."""
    for job in ("a", "b"):
        overrides = [f"store={tmp_path}/store", f"posterior.temperature={'1.0' if job == 'a' else '2.0'}"]
        launch(tmp_path / "sweeps" / "old" / job, *POINTS, *overrides, "stages=[train,fit]")
    before = names(tmp_path / "store")
    (tmp_path / "sweeps" / "old").rename(tmp_path / "sweeps" / "new")
    assert store_command.main(["prune", "--yes", "--store", str(tmp_path / "store")]) == 0
    said = capsys.readouterr().out
    assert names(tmp_path / "store") == before and said.count("kept: its run lies in") == 2 and "new/a" in said
    shutil.rmtree(tmp_path / "sweeps" / "new" / "b")  # shares its training with `a`, which is not it
    store_command.main(["prune", "--yes", "--store", str(tmp_path / "store")])
    lost = {name.split("/")[0] for name in before - names(tmp_path / "store")}
    assert lost == {"fit", "posterior"} and len(list(Store(tmp_path / "store").records())) == 1
