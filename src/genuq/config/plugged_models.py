"""A function of the user's own as an option of the group `model`, whose other options are no parts: genuq's own models
are put together from a process and a network.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from genuq import parts
from genuq.config.options import ENGINE, TARGET, model_node, taken
from genuq.config.schemas import ModelConfig, option_of_any_size
from genuq.errors import ConfigurationError, did_you_mean

KEY = f"model.{TARGET}"


def model_known_as(path: str) -> str:
    """The option that the class path of a function is, now known to Hydra.

    Raises:
        ConfigurationError: there is no such function.
    """
    part, name = parts.plugged(path, "model", KEY), path.replace(":", ".")
    if part.distribution is not None:
        return part.name
    node = option_of_any_size(part)
    OmegaConf.update(node, TARGET, path, force_add=True)
    ConfigStore.instance().store(group="model", name=name, node=node)
    return name


def settle_model(config: DictConfig, named: dict[str, Any]) -> None:
    """Give the model of a composed configuration the keys of its option and no other, in place.

    Keys of genuq's own models, which an experiment has set, are left out of one of the user's own.

    Args:
        named: class paths by group and name of the part, to which that of the model is added.

    Raises:
        ConfigurationError: a class path that is no function for models, a key that its option has not.
    """
    node, registered = config.model, parts.register_of("model")
    if (path := node.get(TARGET)) is not None:
        part = parts.plugged(path, "model", KEY)
        named.setdefault("model", {})[part.name] = path
    elif node.get("name") in registered:
        part = registered[node.name]
    else:
        _merge(config, OmegaConf.structured(ModelConfig), node)
        return
    schema = model_node(part)
    known = list(map(str, schema))
    for key in map(str, node):
        if key not in (*known, TARGET, *(each.name for each in fields(ModelConfig))):
            other = f" It is sampler.{key}." if key in taken(ENGINE) else did_you_mean(key, known)
            raise ConfigurationError(f"'model.{key}' is not a key of the configuration.{other}")
    own = {key: node._get_node(key) for key in known if key in node and key != "name"}
    _merge(config, schema, own)


def _merge(config: DictConfig, schema: DictConfig, own: Any) -> None:
    try:
        OmegaConf.update(config, "model", OmegaConf.merge(schema, own), merge=False)
    except OmegaConfBaseException as error:
        raise ConfigurationError(f"model.{error.full_key}: {str(error).splitlines()[0]}") from error
