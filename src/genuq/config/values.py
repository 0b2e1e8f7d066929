"""Values that can be known to be wrong without any other: those outside the bounds of their options, and names that
become files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from genuq import files
from genuq.config.options import Keys, bounds_of, keys_of, own
from genuq.config.plugged import places, schema_name
from genuq.config.schemas import AutoencoderConfig, Config, ModelConfig, ProcessConfig
from genuq.errors import ConfigurationError
from genuq.parts import register_of
from genuq.parts.bounds import check, declared

# By dotted key, what genuq's own schema has there.
SCHEMAS: Mapping[str, type] = {
    "": Config, "model": ModelConfig, "model.process": ProcessConfig, "model.autoencoder": AutoencoderConfig,
}  # fmt: skip


def check_values(config: DictConfig) -> None:
    """Check every value of a settled configuration against what its option was declared with.

    Raises:
        ConfigurationError: a value outside the bounds of its option; a name that is empty, too long or not UTF-8.
    """
    _check_name("name", config.name)
    if config.study is not None:
        _check_name("study", config.study)
    for name in config.beside:
        _check_name("posterior@beside.NAME", str(name))
    for place, schema in SCHEMAS.items():
        if not place.startswith("model") or "process" in config.model:
            _check_all(config, place, bounds_of_schema(config, place, schema))
    for place, group in places(config):
        keys = keys_of(group, schema_name(group, place, OmegaConf.select(config, place)))
        _check_all(config, place, bounds_in(keys))
    if "process" not in config.model:
        _check_all(config, "model", bounds_in(own(register_of("model")[config.model.name])))


def bounds_of_schema(config: DictConfig, place: str, schema: type) -> Mapping[str, Any]:
    """The bounds of genuq's own schema at a place; options of a process are declared with the process."""
    known = register_of("process")
    if place != "model.process" or config.model.process.name not in known:
        return declared(schema)
    return {**declared(schema), **bounds_in(own(known[config.model.process.name]))}


def bounds_in(keys: Keys) -> dict[str, Any]:
    """The bounds of each key."""
    return {key: bounds_of(default) for key, (_, default) in keys.items()}


def _check_all(config: DictConfig, place: str, bounds: Mapping[str, Any]) -> None:
    node = OmegaConf.select(config, place) if place else config
    if node is None:  # an optional group, or no autoencoder
        return
    for key, hint in bounds.items():
        if key in set(map(str, node)) and not OmegaConf.is_missing(node, key):
            value = node[key]
            plain = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
            check(f"{place}.{key}".lstrip("."), plain, hint)


def _check_name(key: str, name: str) -> None:
    """Each part between slashes becomes a file's name."""
    if not name:
        raise ConfigurationError(f"{key} is empty, and a folder is named by it. Give it at least a letter.")
    try:
        name.encode()
    except UnicodeEncodeError as error:  # bytes that the shell passed on as they were
        shown = os.fsencode(name).decode(errors="backslashreplace")
        raise ConfigurationError(f"{key} = '{shown}' is not UTF-8. Write it in UTF-8, or choose another.") from error
    for part in name.split("/"):
        if (size := len(part.encode())) > files.LONGEST:
            raise ConfigurationError(
                f"{key} = '{part[:40]}...' has {size} bytes, and names a folder: at most {files.LONGEST} are possible."
            )
