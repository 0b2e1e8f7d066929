"""Artefacts: named after what they were made from, made by one at a time, whole or not at all."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from genuq.errors import ArtefactError
from genuq.store import artefact as artefacts
from genuq.store.artefact import StageFolder, fingerprint
from genuq.store.store import Store
from support.programs import finished, start
from support.small_runs import POINTS, copied, launch

STAGES = ["train", "fit", "sample", "embed", "score", "evaluate"]


@pytest.fixture
def copy(points_run: Path, tmp_path: Path) -> Path:
    return copied(points_run, tmp_path / "points")


def test_an_artefacts_name_is_the_hash_of_what_it_was_made_from(points_run: Path) -> None:
    for artefact in Store(points_run / "store").artefacts():
        manifest = artefact.manifest()
        assert fingerprint(manifest["made_from"]) == manifest["fingerprint"]
        assert manifest["fingerprint"].startswith(artefact.path.name)
        assert manifest["made_from"]["stage"] == artefact.stage and artefact.bytes > 0


def test_a_folder_in_the_links_place_is_not_lost(copy: Path) -> None:
    (copy / "score").unlink()
    (copy / "score").mkdir()
    with pytest.raises(ArtefactError, match=r"score is a folder, where a link.*Move it away"):
        launch(copy, *POINTS)


def test_a_glance_promises_size_and_time_and_a_reading_every_byte(tmp_path: Path) -> None:
    """A reused artefact gets the glance; whatever is made from it, and `genuq store verify`, the reading."""
    folder = StageFolder.in_store(tmp_path, {"stage": "sample"})
    folder.path.mkdir(parents=True)
    shard = folder.path / "shard"
    shard.write_bytes(bytes(100))
    folder.complete(1.0, {})
    changed = shard.stat().st_mtime_ns
    shard.write_bytes(bytes(99) + b"1")
    os.utime(shard, ns=(changed, changed))
    folder.verify(thoroughly=False)
    with pytest.raises(ArtefactError, match="shard is truncated or was altered"):
        folder.verify()
    assert len(Store(tmp_path).broken()) == 1
    os.utime(shard, ns=(changed, changed + 10**9))
    with pytest.raises(ArtefactError, match="shard is truncated or was altered"):
        folder.verify(thoroughly=False)


TOGETHER = """
import sys; from pathlib import Path
from support.small_runs import POINTS, launch
root, number = Path(sys.argv[1]), sys.argv[2]
launch(root / number, *POINTS, f"store={root}/store", "trainer.steps=40")
"""


def test_two_runs_that_share_a_store_make_everything_once(tmp_path: Path) -> None:
    """Started at the same time with the same configuration: what one makes the other reuses, or works along on it."""
    both = [finished(each) for each in [start(TOGETHER, str(tmp_path), str(n)) for n in (0, 1)]]
    assert [done.returncode for done in both] == [0, 0]
    said = [done.stdout for done in both]
    for stage in STAGES:
        along = [f"{stage}: another run is making it; working along" in text for text in said]
        assert sum(f"{stage}: already done, reused" in text for text in said) + sum(along) == 1, stage
    assert not Store(tmp_path / "store").broken()
    assert all((tmp_path / "0" / stage).samefile(tmp_path / "1" / stage) for stage in STAGES)


def test_one_waits_for_another_and_a_killed_one_lets_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artefacts, "PATIENCE", 0.1)
    folder = StageFolder(tmp_path / "sample" / "x", {})
    if not (child := os.fork()):
        with folder.exclusively(lambda: None):
            (tmp_path / "held").touch()
            time.sleep(600)
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    waited: list[int] = []

    def waiting() -> None:
        waited.append(1)
        if len(waited) == 3:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)

    with folder.exclusively(waiting):
        assert len(waited) >= 3
