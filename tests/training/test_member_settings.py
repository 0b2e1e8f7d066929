"""Settings of members that cannot work are refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from genuq.errors import ConfigurationError
from genuq.parallel.hardware import Hardware
from genuq.training.ensembles import finetune_ensemble, fit_members
from genuq.training.member_settings import MemberSettings, OnlineNewton
from support.small_members import SMALL, made, points, settings, trained_model

# Mistakes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stpes": 3}, r"'stpes' is no setting of members.*Did you mean 'steps'"),
        ({"members": 0}, r"posterior\.members = 0"),
        ({"steps": 0}, r"posterior\.steps = 0"),
        ({"rank": 0}, r"posterior\.rank = 0"),
        ({"prior_relative_size": 0.0}, r"posterior\.prior_relative_size = 0"),
        ({"learning_rate": -1.0}, r"posterior\.learning_rate = -1"),
        ({"checkpoints": "nowhere/*"}, r"posterior\.checkpoints = 'nowhere/\*' matches no file"),
        ({"checkpoints": "reference"}, r"no posthoc_ensemble of '' is shipped"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_impossible_settings_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        finetune_ensemble(trained_model(), points(), **SMALL | options)


def test_other_kinds_and_too_few_steps_are_named() -> None:
    with pytest.raises(ConfigurationError, match=r"posterior\.name = 'exact_laplace' has no members"):
        settings("exact_laplace")
    with pytest.raises(ConfigurationError, match=r"posterior\.members = 9 snapshots need as many steps"):
        settings("swag", members=9)
    with pytest.raises(ConfigurationError, match=r"posterior\.checkpoints: swag"):
        made("swag", checkpoints=[__file__])
    with pytest.raises(ConfigurationError, match=r"posterior\.checkpoints: ivon"):
        made("ivon", checkpoints=[__file__])
    with pytest.raises(
        ConfigurationError, match=r"trainer\.precision = '16-mixed' cannot be had with posterior\.name = 'iv"
    ):
        settings("ivon", hardware=Hardware("cpu", precision="16-mixed"))
    for key, value in {"beta1": 1.0, "beta2": -0.1, "hess_init": 0.0, "clip_radius": 0.0, "mc_samples": 0}.items():
        with pytest.raises(ConfigurationError, match=rf"posterior\.{key} = {value}"):
            OnlineNewton(**{key: value})
    with pytest.raises(ConfigurationError, match="a way to build an untrained network"):
        fit_members(settings("deep_ensemble"), trained_model(), points())


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


def test_several_stand_in_the_order_in_which_they_are_listed(folders: Path) -> None:
    """Paths and patterns; names of the same pattern in their own order."""
    listed = [f"{folders}/seed=1/*", f"{folders}/channels=[[]16*/*", f"{folders}/channels=1,seed=0/model.safetensors"]
    found = MemberSettings(kind="deep_ensemble", checkpoints=listed).given("none")
    names = ["seed=1", "channels=[16,32],seed=0", "channels=[16,32],seed=1", "channels=1,seed=0"]
    assert [path.parent.name for path in found] == names
    for wrong, message in ((["nowhere"], "'nowhere' matches no file"), ([], r"= \[\] names no member.* null")):
        with pytest.raises(ConfigurationError, match=message):
            MemberSettings(kind="deep_ensemble", checkpoints=wrong).given("none")


def test_brackets_are_taken_literally_beside_a_star(folders: Path) -> None:
    assert given(folders, "channels=[16,32],seed=*") == ["channels=[16,32],seed=0", "channels=[16,32],seed=1"]


def test_brackets_are_a_choice_where_no_name_has_them(folders: Path) -> None:
    assert given(folders, "channels=[0-9],seed=[01]") == ["channels=1,seed=0"]
    with pytest.raises(ConfigurationError, match=r"posterior.checkpoints = .* matches no file"):
        given(folders, "channels=[3],seed=*")
