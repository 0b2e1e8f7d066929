"""Finished members by path or pattern: names of sweeps' folders hold brackets."""

from __future__ import annotations

from pathlib import Path

import pytest

from genuq.errors import ConfigurationError
from genuq.training.member_settings import MemberSettings


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for name in ("channels=[16,32],seed=0", "channels=[16,32],seed=1", "channels=1,seed=0", "seed=[12]", "seed=1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").touch()
    return tmp_path


def given(folder: Path, pattern: str) -> list[str]:
    settings = MemberSettings(kind="deep_ensemble", checkpoints=f"{folder}/{pattern}/model.safetensors")
    return [path.parent.name for path in settings.given("none")]


def test_a_path_that_exists_is_itself(folders: Path) -> None:
    assert given(folders, "channels=[16,32],seed=0") == ["channels=[16,32],seed=0"]
    assert given(folders, "seed=[12]") == ["seed=[12]"]


def test_brackets_are_taken_literally_beside_a_star(folders: Path) -> None:
    assert given(folders, "channels=[16,32],seed=*") == ["channels=[16,32],seed=0", "channels=[16,32],seed=1"]


def test_brackets_are_a_choice_where_no_name_has_them(folders: Path) -> None:
    assert given(folders, "channels=[0-9],seed=[01]") == ["channels=1,seed=0"]
    with pytest.raises(ConfigurationError, match=r"posterior.checkpoints = .* matches no file"):
        given(folders, "channels=[3],seed=*")
