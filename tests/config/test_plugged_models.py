"""A model of the user's own is an option whose keys are the parameters of its function."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from genuq.config import schemas
from genuq.config.plugged_models import model_known_as, settle_model
from genuq.errors import ConfigurationError
from genuq.parts import register_of

PATH = "support.my_lab_parts.own_model"


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """Takes the model out after each test."""
    schemas.register()
    before = set(register_of("model"))
    yield
    for name in set(register_of("model")) - before:
        register_of("model").remove(name)


def config_of(**keys: object) -> DictConfig:
    return OmegaConf.create({"model": keys})


def test_a_function_is_an_option_called_by_its_path() -> None:
    name = model_known_as(PATH)
    assert name == PATH and f"{PATH}.yaml" in ConfigStore.instance().list("model")
    node = ConfigStore.instance().load(f"model/{PATH}.yaml").node
    assert node._target_ == PATH and node.width == 4 and node.checkpoint is None


def test_keys_of_genuqs_own_models_are_left_out_and_others_refused() -> None:
    named: dict[str, dict[str, str]] = {}
    config = config_of(_target_=PATH, width=16, prediction="flow")
    settle_model(config, named)
    assert config.model.width == 16 and "prediction" not in config.model
    assert list(named["model"].values()) == [PATH]
    with pytest.raises(ConfigurationError, match=r"'model\.widht' is not a key.*Did you mean 'width'"):
        settle_model(config_of(_target_=PATH, widht=16), {})
    with pytest.raises(ConfigurationError, match=r"'model\.compile' is not a key.*It is sampler\.compile"):
        settle_model(config_of(_target_=PATH, compile=True), {})


def test_a_value_of_another_type_is_refused_by_its_key() -> None:
    with pytest.raises(ConfigurationError, match=r"model\."):
        settle_model(config_of(_target_=PATH, width="wide"), {})
