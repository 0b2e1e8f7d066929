"""Stamps of a sweep's jobs: when nothing is left to do."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from genuq.config import finished
from genuq.config.finished import is_finished, stamp_path
from genuq.config.job import Job
from genuq.pipeline import execute
from genuq.store.records import read_records
from support.small_runs import IMAGES, composed


def test_a_stamp_is_found_however_the_overrides_are_written(tmp_path: Path) -> None:
    sweep = Path("outputs/sweeps/x")
    path = stamp_path(tmp_path, sweep, ["seed=0", "stages=[fit, sample]", "+a='b'"])
    assert path == stamp_path(tmp_path, sweep, ["stages=[fit,sample]", "seed=0", "+a='b'"])
    assert path != stamp_path(tmp_path, sweep, ["seed=1", "stages=[fit, sample]", "+a='b'"])
    assert path != stamp_path(tmp_path, Path("outputs/sweeps/y"), ["seed=0", "stages=[fit, sample]", "+a='b'"])


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory, image_root: Path) -> Path:
    """A sweep's job that came to its end, up to its samples, with weights from a file."""
    root = tmp_path_factory.mktemp("ended")
    trained = [*IMAGES, f"data.root={image_root}", f"store={root}/store", "stages=[train]"]
    execute.execute(composed(*trained), made(root / "trained"), "genuq")
    shutil.copy(root / "trained" / "train" / "model.safetensors", root / "weights.safetensors")
    overrides = [
        *trained[:-1],
        "stages=[fit,sample]",
        f"model.checkpoint={root}/weights.safetensors",
    ]
    job = Job(name="seed=3", sweep=root / "sweep", overrides=("seed=3",))
    execute.execute(composed(*overrides), made(root / "sweep" / "seed=3"), "genuq -m seed=3", job=job)
    return root


def made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def stamp_of(root: Path) -> Path:
    return stamp_path(root / "store", root / "sweep", ["seed=3"])


def test_a_finished_job_is_known(ended: Path) -> None:
    assert is_finished(stamp_of(ended), ended / "store")
    assert not is_finished(stamp_path(ended / "store", ended / "sweep", ["seed=4"]), ended / "store")
    (record,) = [r for r in read_records(ended / "store") if r.name == "seed=3"]
    assert record.study == "sweep" and record.overrides == ("seed=3",)


@pytest.mark.parametrize("change", ["shard", "link", "weights", "manifest", "program"])
def test_whatever_it_made_or_read_must_be_as_it_was(change: str, ended: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stamp, folder = stamp_of(ended), ended / "sweep" / "seed=3"
    if change == "program":
        monkeypatch.setattr(finished, "program", lambda: "changed")
        assert not is_finished(stamp_of(ended), ended / "store")
        return
    path = {
        "shard": next((folder / "sample").glob("shard-*")),
        "link": folder / "sample",
        "weights": ended / "weights.safetensors",
        "manifest": folder / "fit" / "manifest.json",
    }[change]
    aside = path.with_name("aside")
    os.replace(path, aside)
    try:
        assert not is_finished(stamp, ended / "store")
    finally:
        os.replace(aside, path)
    assert is_finished(stamp, ended / "store")
    content, changed = path.read_bytes() if path.is_file() else b"", path.stat().st_mtime_ns
    if change in ("shard", "weights"):
        os.utime(path, ns=(changed + 1, changed + 1))
        assert path.read_bytes() == content and not is_finished(stamp, ended / "store")
        os.utime(path, ns=(changed, changed))


def test_an_edited_option_file_is_another_job(tmp_path: Path) -> None:
    own, sweep = tmp_path / "own", Path("outputs/sweeps/x")
    (own / "experiment").mkdir(parents=True)
    file = own / "experiment" / "mine.yaml"
    file.write_text("seed: 1\n")
    plain = stamp_path(tmp_path, sweep, ["seed=0"])
    before = stamp_path(tmp_path, sweep, ["seed=0"], [own])
    assert plain == stamp_path(tmp_path, sweep, ["seed=0"], []) != before
    moved = Path(shutil.copytree(own, tmp_path / "moved"))
    assert before == stamp_path(tmp_path, sweep, ["seed=0"], [moved])
    file.write_text("seed: 2\n")
    assert before != stamp_path(tmp_path, sweep, ["seed=0"], [own])
