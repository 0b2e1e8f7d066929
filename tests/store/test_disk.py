"""A full disk: said, told from other failures, and nothing lost."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest

from genuq.errors import StorageError
from genuq.store.disk import is_full_disk
from genuq.store.store import Store
from support.small_runs import POINTS, launch


@contextlib.contextmanager
def small_disk(folder: Path, size: str):
    """A file system of this size; skips where that needs rights that we do not have."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("no right to mount a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_said_loses_nothing_and_the_run_goes_on(points_run: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "600k"):
        run = tmp_path / "run"
        store, ballast = f"store={tmp_path}/disk/store", tmp_path / "disk" / "ballast"
        ballast.write_bytes(bytes(480 * 1024))
        with pytest.raises(StorageError, match=r"the disk is full.*genuq store prune"):
            launch(run, *POINTS, store)
        finished = {path: path.read_bytes() for path in (tmp_path / "disk" / "store").glob("*/*/shard-*")}
        assert not list((tmp_path / "disk" / "store").rglob("*.partial"))
        ballast.unlink()
        launch(run, *POINTS, store)
        assert all(path.read_bytes() == content for path, content in finished.items())
        assert not Store(tmp_path / "disk" / "store").broken()
        scores = "score/scores.safetensors"
        assert (run / scores).read_bytes() == (points_run / scores).read_bytes()


def test_only_a_full_disk_is_called_one() -> None:
    assert is_full_disk(OSError(28, "No space left on device"))
    wrapped = RuntimeError("could not save")
    wrapped.__cause__ = OSError(122, "Disk quota exceeded")
    assert is_full_disk(wrapped)
    assert not is_full_disk(OSError(13, "Permission denied")) and not is_full_disk(ValueError("no space for doubt"))
