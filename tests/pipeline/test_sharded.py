"""Samples in shards: each made once, what is there is kept, a broken one is named."""

from __future__ import annotations

import os
import random
import signal
import time
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console

from genuq import files
from genuq.display import Display
from genuq.errors import ArtefactError
from genuq.pipeline.sharded import deal, shards
from genuq.randomness import generator
from genuq.store import leases
from genuq.store.artefact import StageFolder
from genuq.store.once import make_once
from genuq.store.store import Store

SAMPLER: Any = SimpleNamespace(samples=10, batch_size=4)


def dealt(folder: Path, made: list[list[int]]) -> int:
    def make(indices: list[int], advance: Any) -> dict[str, torch.Tensor]:
        made.append(indices)
        advance(len(indices))
        return {"index": torch.tensor(indices)}

    folder.mkdir(exist_ok=True)
    return deal(SAMPLER, StageFolder(folder, {"stage": "sample"}), make, Display(Console(file=StringIO())), "sampling")


def test_shards_are_the_samples_in_order_the_last_one_shorter(tmp_path: Path) -> None:
    found = list(shards(10, 4, tmp_path))
    assert [indices for indices, _, _ in found] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert not any(finished for _, _, finished in found) and len({path for _, path, _ in found}) == 3


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    made: list[list[int]] = []
    assert dealt(tmp_path / "sample", made) == 10 and made == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    paths = [path for _, path, _ in shards(10, 4, tmp_path / "sample")]
    paths[1].unlink()
    assert dealt(tmp_path / "sample", made) == 4 and made[3:] == [[4, 5, 6, 7]]
    assert dealt(tmp_path / "sample", made) == 0 and len(made) == 4
    tensors, metadata = files.read_tensors(paths[1])
    assert tensors["index"].tolist() == [4, 5, 6, 7]
    assert metadata["fingerprint"] == StageFolder(tmp_path, {"stage": "sample"}).fingerprint


def test_a_broken_shard_is_named_and_not_used(tmp_path: Path) -> None:
    dealt(tmp_path / "sample", [])
    broken = next(path for _, path, _ in shards(10, 4, tmp_path / "sample"))
    broken.write_bytes(broken.read_bytes()[:20])
    with pytest.raises(ArtefactError, match=broken.name):
        dealt(tmp_path / "sample", [])


def test_a_shard_that_a_dead_machine_had_claimed_is_made_when_no_sign_of_life_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "STALE", 0.3)
    monkeypatch.setattr(leases, "this_machine", lambda: "another")
    assert StageFolder(tmp_path / "store/sample/x", {"stage": "sample"}).claim("shard-0000004-0000008").attempt()
    monkeypatch.undo()
    monkeypatch.setattr(leases, "STALE", 0.3)
    made: list[list[int]] = []
    (tmp_path / "store/sample").mkdir(parents=True)
    assert dealt(tmp_path / "store/sample/x", made) == 10 and made[-1] == [4, 5, 6, 7]


MANY: Any = SimpleNamespace(samples=100, batch_size=2)
WORKERS, KILLS = 4, 10


def one_run(store: Path, seconds: float) -> None:
    """A run that shares the store with others: an artefact in shards, each of which takes a while."""

    def make(indices: list[int], advance: Any) -> dict[str, torch.Tensor]:
        with open(store / f"log-{os.getpid()}", "a") as log:
            log.write(f"{indices[0]}\n")
        time.sleep(seconds)
        return {"image": torch.stack([torch.randn(3, generator=generator(7, index, "x")) for index in indices])}

    folder, display = StageFolder.in_store(store, {"stage": "sample"}), Display(Console(file=StringIO()))
    with make_once(folder, "sample", display, shared=True, together=True) as making:
        if making.here:
            deal(MANY, folder, make, display, "sampling")


def worker(store: Path) -> int:
    if not (child := os.fork()):
        status = 1
        try:
            one_run(store, 0.02)
            status = 0
        finally:
            os._exit(status)
    return child


def shards_of(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.glob("sample/*/shard-*")}


def test_of_four_runs_one_is_killed_ten_times_at_random_and_the_bytes_are_the_same(tmp_path: Path) -> None:
    """Each begins anew in the killed one's place; what a death costs is the shard that was being made."""
    torch.set_num_threads(1)  # a fork has no others
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    one_run(tmp_path / "whole", 0.0)
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed of the kills: {seed}")
    moments, store = random.Random(seed), tmp_path / "killed"
    running = [worker(store) for _ in range(WORKERS)]
    for _ in range(KILLS):
        time.sleep(moments.uniform(0.0, 0.06))
        chosen = moments.randrange(WORKERS)
        os.kill(running[chosen], signal.SIGKILL)
        os.waitpid(running[chosen], 0)
        running[chosen] = worker(store)
    assert [os.waitpid(child, 0)[1] for child in running] == [0] * WORKERS
    assert shards_of(store) == shards_of(tmp_path / "whole") and len(shards_of(store)) == 50
    begun = [line for log in store.glob("log-*") for line in log.read_text().split()]
    assert 50 <= len(begun) <= 50 + KILLS, "no more than the shard of each death was made twice"
    assert not Store(store).broken() and not list(store.rglob("*.partial"))
