"""A run: where its artefacts lie, what it is called, and the files that it depends on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from genuq import files
from genuq.config.job import Job
from genuq.errors import ArtefactError, ConfigurationError
from genuq.pipeline.run import Run, hardware_of
from genuq.store.artefact import StageFolder
from support.small_runs import POINTS, composed


def run(folder: Path, *overrides: str, job: Job | None = None) -> Run:
    return Run(composed(*POINTS, f"store={folder}/store", *overrides), folder / "run", "genuq", job or Job())


def test_the_study_is_configured_or_that_of_the_sweep_or_the_run_itself(tmp_path: Path) -> None:
    job = Job(sweep=tmp_path / "sweeps" / "mine")
    assert run(tmp_path, "study=asked", job=job).study == "asked"
    assert run(tmp_path, job=job).study == "mine" and run(tmp_path, "name=alone").study == "alone"


def test_files_are_known_by_content_and_remembered_by_state(tmp_path: Path) -> None:
    made, path = run(tmp_path), tmp_path / "weights"
    path.write_bytes(b"one")
    first = made.sha256(path)
    assert first == files.sha256(path) and made.read[str(path)] == files.state_of(path)
    path.write_bytes(b"another")
    assert made.sha256(path) == files.sha256(path) != first
    with pytest.raises(ConfigurationError, match=r"absent does not exist, but the configuration names it"):
        made.sha256(tmp_path / "absent")
    (tmp_path / "folder").mkdir()
    before = made.sha256_of_folder(tmp_path / "folder")
    (tmp_path / "folder" / "new").write_text("x")
    assert made.sha256_of_folder(tmp_path / "folder") != before


def test_links_lead_into_the_store_and_follow_another_artefact(tmp_path: Path) -> None:
    made = run(tmp_path)
    made.folder.mkdir()
    for name in ("one", "two"):
        made.artefacts["fit"] = StageFolder.in_store(made.store, {"stage": "fit", "name": name})
        made.path("fit").mkdir(parents=True)
        made.link("fit")
        assert (made.folder / "fit").resolve() == made.path("fit")
        assert not os.path.isabs(os.readlink(made.folder / "fit"))
    (made.folder / "fit").unlink()
    (made.folder / "fit").mkdir()
    with pytest.raises(ArtefactError, match="is a folder, where a link into the store belongs"):
        made.link("fit")


def test_the_main_posterior_comes_first(tmp_path: Path) -> None:
    made = run(tmp_path, "+posterior@beside.other=kfac")
    assert list(made.posteriors()) == ["draws", "other"] and made.posteriors()["other"]["name"] == "kfac"
    assert list(run(tmp_path).posteriors()) == ["draws"]


def test_device_and_hardware_are_those_asked_for(tmp_path: Path) -> None:
    assert run(tmp_path).device == torch.device("cpu")
    assert run(tmp_path, "device=auto").device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert run(tmp_path).trains and not run(tmp_path, "stages=[fit,sample]").trains
    made = run(tmp_path, "trainer.devices=2", "trainer.strategy=fsdp")
    assert hardware_of(made, shards=True).strategy == "fsdp" and hardware_of(made).strategy != "fsdp"
    assert hardware_of(made).devices == 2
