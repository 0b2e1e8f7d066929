"""Samples in shards: each made once, what is there is kept, a broken one is named."""

from __future__ import annotations

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
from genuq.store.artefact import StageFolder

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
