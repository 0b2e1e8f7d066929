"""Names of sweeps' folders."""

from __future__ import annotations

from typing import Any

import pytest
from hydra.core.config_store import ConfigStore

from genuq.config import schemas
from genuq.config.schemas import folder_name
from genuq.parts import plugged, register_of


def test_folders_of_sweeps_are_short_distinct_and_keep_short_names() -> None:
    assert folder_name("posterior=isotropic,seed=1") == "posterior=isotropic,seed=1"
    assert "/" not in folder_name("data.root=/data/photos,seed=1")
    long = [folder_name("x=" + "1," * 300 + f"seed={seed}") for seed in (0, 1)]
    assert long[0] != long[1] and max(map(len, long)) < 200


def test_a_name_of_many_bytes_a_letter_is_one_that_file_systems_take() -> None:
    for text in ("x=" + "ü" * 140, "x=" + "模" * 300):
        assert len(folder_name(text).encode()) <= 200
        assert folder_name(text + "a") != folder_name(text)


def test_schemas_are_made_again_where_there_are_other_parts_or_another_store(monkeypatch: pytest.MonkeyPatch) -> None:
    stored: list[str] = []
    store = ConfigStore.store

    def recorded(self: ConfigStore, name: str, **entry: Any) -> None:
        stored.append(name)
        store(self, name, **entry)

    schemas.register()
    monkeypatch.setattr(ConfigStore, "store", recorded)
    schemas.register()
    assert stored == []
    part = plugged("support.my_lab_parts.Narrow", "posterior", "posterior")
    try:
        schemas.register()
    finally:
        register_of("posterior").remove(part.name)
    assert "schema_narrow" in stored and "schema_kfac" in stored
    monkeypatch.setattr(ConfigStore, "instance", lambda *arguments: ConfigStore())
    stored.clear()
    schemas.register()
    assert "schema" in stored and "schema_narrow" not in stored
