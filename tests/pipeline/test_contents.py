"""Fingerprints of data on disk: remembered for the state of the files, and made anew for any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from genuq.pipeline.contents import ModelContents, fingerprint_in, known_model, model_key, remember_model


class Counted:
    """A data set that counts how often its bytes are read."""

    def __init__(self, folder: Path | None) -> None:
        self.folder, self.reads = folder, 0

    @property
    def fingerprint(self) -> str:
        self.reads += 1
        return "made" if self.folder is None else (self.folder / "a").read_text()


@pytest.fixture
def data(tmp_path: Path) -> Any:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a").write_text("first")
    return Counted(tmp_path / "data")


def test_unchanged_files_are_read_once(data: Any, tmp_path: Path) -> None:
    store = tmp_path / "store"
    assert [fingerprint_in(store, data, {"size": 8}) for _ in range(3)] == ["first"] * 3
    reads = data.reads
    assert fingerprint_in(store, data, {"size": 8}) == "first" and data.reads == reads
    fingerprint_in(store, data, {"size": 16})
    assert data.reads > reads
    (data.folder / "a").write_text("second, longer")
    assert fingerprint_in(store, data, {"size": 8}) == "second, longer"


def test_a_store_that_is_only_looked_at_stays_as_it_is(data: Any, tmp_path: Path) -> None:
    assert fingerprint_in(tmp_path / "store", data, {}, keep=False) == "first"
    assert not (tmp_path / "store").exists()


def test_what_was_remembered_badly_is_made_anew(data: Any, tmp_path: Path) -> None:
    fingerprint_in(tmp_path / "store", data, {})
    (kept,) = (tmp_path / "store").rglob("*.json")
    kept.write_text("{")
    assert fingerprint_in(tmp_path / "store", data, {}) == "first"


def test_data_without_files_have_their_own(tmp_path: Path) -> None:
    assert fingerprint_in(tmp_path / "store", Counted(None), {}) == "made"  # type: ignore[arg-type]
    assert not (tmp_path / "store").exists()


def test_a_model_is_known_while_its_files_are_as_they_were(data: Any, tmp_path: Path) -> None:
    store, contents = tmp_path / "store", ModelContents({"pretrained": "first"}, "weights")

    def key(**made_of: object) -> dict[str, Any]:
        return model_key(made_of, {"pretrained": data.folder})

    assert known_model(store, key(prompt="a")) is None and not store.exists()
    remember_model(store, key(prompt="a"), contents)
    assert known_model(store, key(prompt="a")) == contents and known_model(store, key(prompt="b")) is None
    (data.folder / "a").write_text("second, longer")
    assert known_model(store, key(prompt="a")) is None
