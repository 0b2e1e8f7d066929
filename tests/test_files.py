"""Whole files or none, and reading that says what is wrong."""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from genuq import files
from genuq.errors import ArtefactError


def names(folder) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


class TestReplacing:
    def test_a_failure_leaves_the_old_file_and_nothing_else(self, tmp_path):
        path = tmp_path / "result.txt"
        path.write_text("old")
        with pytest.raises(RuntimeError), files.replacing(path) as temporary:
            temporary.write_text("half of the n")
            raise RuntimeError("killed in the middle")
        assert path.read_text() == "old"
        assert names(tmp_path) == ["result.txt"]

    def test_a_failure_of_a_first_write_leaves_no_file(self, tmp_path):
        with pytest.raises(KeyboardInterrupt), files.replacing(tmp_path / "result.txt") as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt
        assert names(tmp_path) == []

    def test_the_name_appears_only_when_the_file_is_whole(self, tmp_path):
        path = tmp_path / "deep" / "folder" / "result.txt"
        with files.replacing(path) as temporary:
            temporary.write_text("new")
            assert not path.exists()
            assert temporary.parent == path.parent, "a rename across file systems would not be atomic"
        assert path.read_text() == "new"
        assert names(path.parent) == ["result.txt"]

    def test_others_may_read_it(self, tmp_path):
        files.write_text(tmp_path / "result.txt", "x")
        assert os.stat(tmp_path / "result.txt").st_mode & 0o777 == 0o644

    def test_an_unwritable_value_leaves_the_old_json(self, tmp_path):
        files.write_json(tmp_path / "a.json", {"a": 1})
        with pytest.raises(TypeError):
            files.write_json(tmp_path / "a.json", {"a": torch.nn.Linear(1, 1)})
        assert files.read_json(tmp_path / "a.json") == {"a": 1}
        assert names(tmp_path) == ["a.json"]


class TestJson:
    def test_comes_back_in_its_order_and_is_plain_json(self, tmp_path):
        value = {"z": [1, 2.5, None, "ü"], "a": {"nested": True}}
        files.write_json(tmp_path / "a.json", value)
        assert files.read_json(tmp_path / "a.json") == value
        assert list(json.loads((tmp_path / "a.json").read_text("utf-8"))) == ["z", "a"]

    @pytest.mark.parametrize("content", [b'{"a": 1', b"", b"\xff\xfe\x00"])
    def test_broken_names_the_file(self, tmp_path, content):
        path = tmp_path / "manifest.json"
        path.write_bytes(content)
        with pytest.raises(ArtefactError, match=r"manifest.json is not whole JSON"):
            files.read_json(path)

    def test_missing_names_the_file(self, tmp_path):
        with pytest.raises(ArtefactError, match=r"manifest.json does not exist"):
            files.read_json(tmp_path / "manifest.json")


class TestTensors:
    def test_come_back_bit_for_bit_with_metadata(self, tmp_path):
        base = torch.randn(4, 6)
        tensors = {
            "half": torch.randn(3).half(),
            "bytes": torch.arange(5, dtype=torch.uint8),
            "transposed": base.T,
            "shared": base[1],
            "scalar": torch.tensor(2.5, dtype=torch.float64),
            "trained": torch.nn.Parameter(torch.ones(2)),
        }
        files.write_tensors(tmp_path / "a.safetensors", tensors, {"format": "7"})
        found, metadata = files.read_tensors(tmp_path / "a.safetensors")
        assert metadata == {"format": "7"}
        assert found.keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert found[name].dtype == tensor.dtype
            assert torch.equal(found[name], tensor.detach())

    @pytest.mark.parametrize("kept", [0, 4, 40, -1])
    def test_truncated_is_named(self, tmp_path, kept):
        path = tmp_path / "weights.safetensors"
        files.write_tensors(path, {"w": torch.ones(100)})
        path.write_bytes(path.read_bytes()[:kept])
        with pytest.raises(ArtefactError, match=r"weights.safetensors is truncated or not a safetensors file"):
            files.read_tensors(path)

    def test_another_kind_of_file_is_named(self, tmp_path):
        path = tmp_path / "weights.safetensors"
        torch.save({"w": torch.ones(3)}, path)
        with pytest.raises(ArtefactError, match="not a safetensors file"):
            files.read_tensors(path)

    def test_missing_is_named(self, tmp_path):
        with pytest.raises(ArtefactError, match=r"weights.safetensors does not exist"):
            files.read_tensors(tmp_path / "weights.safetensors")


def test_digest_is_sha256_of_the_content(tmp_path):
    files.write_bytes(tmp_path / "a", b"abc")
    assert files.sha256(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
    assert files.sha256(tmp_path / "a").startswith("ba7816bf")


def test_the_same_content_is_the_same_bytes(tmp_path) -> None:
    """safetensors keeps its metadata in random order; ä and control characters keep their length."""
    metadata = {name: f'{name}"\\\n\x1fä' for name in "qwertyuiopasdfgh"}
    for number in range(8):
        files.write_tensors(tmp_path / str(number), {"x": torch.arange(3)}, metadata)
    assert len({(tmp_path / str(number)).read_bytes() for number in range(8)}) == 1
    tensors, found = files.read_tensors(tmp_path / "0")
    assert found == metadata and torch.equal(tensors["x"], torch.arange(3))
    files.write_tensors(tmp_path / "plain", {"x": torch.arange(3)})
    assert files.read_tensors(tmp_path / "plain")[1] == {}


def test_plain_is_strict_json():
    value = {
        "a": math.nan,
        "b": [np.float32(1.5), torch.tensor([math.inf, 2.0])],
        3: (np.int64(4), True),
        "p": Path("x"),
    }
    text = json.dumps(files.plain(value), allow_nan=False)
    assert json.loads(text) == {"a": None, "b": [1.5, [None, 2.0]], "3": [4, True], "p": "x"}


def test_a_dataclass_is_an_object_with_its_fields_in_order():
    @dataclass
    class Inner:
        x: float

    @dataclass
    class Outer:
        b: Inner
        a: tuple[Inner, ...]

    found = files.plain(Outer(Inner(math.nan), (Inner(1.0),)))
    assert json.dumps(found) == '{"b": {"x": null}, "a": [{"x": 1.0}]}'


def test_nested_keys_are_flattened_and_looked_up():
    nested = {"model": {"name": "ddpm", "head": None, "none": {}}, "seed": 0}
    assert files.flattened(nested) == {"model.name": "ddpm", "model.head": None, "seed": 0}
    assert files.flattened(nested, "/")["model/name"] == "ddpm"
    assert all(files.looked_up(nested, key) == value for key, value in files.flattened(nested).items())
    assert files.looked_up(nested, "model.name.first") is files.looked_up(nested, "modle") is None
    assert files.looked_up(nested, "model.head", "absent") is None
    assert files.looked_up(nested, "model.width", "absent") == "absent"
