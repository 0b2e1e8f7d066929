"""Reading shards: only what is asked for, wherever it lies."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from genuq import files
from genuq.errors import ArtefactError
from genuq.store.shards import Columns, Shards, read_shards


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eleven rows in shards of four."""
    for start in (0, 4, 8):
        stop = min(start + 4, 11)
        rows = torch.arange(start, stop)
        tensors = {"index": rows, "image": rows[:, None].float().expand(-1, 3)}
        if start:  # a control that an earlier version did not have
            tensors["late"] = rows
        files.write_tensors(tmp_path / f"shard-{start:07d}-{stop:07d}.safetensors", tensors)
    return tmp_path


def test_columns_are_those_of_every_shard(folder: Path) -> None:
    found = Shards(folder)
    assert len(found) == 11 and sorted(found.names) == ["image", "index"]
    whole = read_shards(folder)
    assert torch.equal(whole["index"], torch.arange(11)) and whole["image"].shape == (11, 3)
    assert list(read_shards(folder, ["index"])) == ["index"]


@pytest.mark.parametrize(("start", "stop"), [(0, 11), (3, 5), (5, 7), (4, 8), (10, 11), (2, 99), (0, None)])
def test_rows_across_shards(folder: Path, start: int, stop: int | None) -> None:
    assert torch.equal(Shards(folder).read("index", start, stop), torch.arange(11)[start:stop])


@pytest.mark.parametrize("chosen", [[], [3], [10, 0, 4, 4, 7]])
def test_chosen_rows_come_in_the_order_asked_for(folder: Path, chosen: list[int]) -> None:
    found = Shards(folder)
    assert found.rows("index", chosen).tolist() == chosen and found.rows("image", chosen).shape == (len(chosen), 3)


def test_columns_are_read_when_they_are_asked_for(folder: Path) -> None:
    found = Columns(Shards(folder), {"row": "index", "image": "image"})
    assert dict(found).keys() == {"row", "image"} and len(found) == 2 and found["row"].tolist() == list(range(11))
    more = found | {"image": torch.zeros(11), "score": torch.ones(11)}
    assert list(more) == ["row", "image", "score"] and more["image"].ndim == 1 and found["image"].ndim == 2
    assert found.get("score") is None and "score" not in found
    for path in folder.glob("*"):
        path.write_bytes(b"broken")
    assert more["score"].sum() == 11
    with pytest.raises(ArtefactError, match="shard-0000000-0000004"):
        more["row"]


def test_only_the_shards_that_hold_the_rows_are_opened(folder: Path) -> None:
    for path in sorted(folder.glob("*"))[1:]:
        path.write_bytes(b"broken")
    found = Shards(folder)
    assert torch.equal(found.read("index", 1, 3), torch.arange(1, 3))
    with pytest.raises(ArtefactError, match="shard-0000004-0000008"):
        found.read("index", 1, 5)


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="holds no shards"):
        Shards(tmp_path)
