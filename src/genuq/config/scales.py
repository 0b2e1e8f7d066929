"""What `scale=smoke` makes of a configuration, after Hydra has composed it: whatever was typed is shrunk, too."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from genuq.config.plugged import BESIDE, settle
from genuq.errors import ConfigurationError
from genuq.store.scales import FULL, at_scale

SMALL = "small:"
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def shrunk(config: DictConfig) -> DictConfig:
    """A settled configuration at the scale that it names, in place; at full scale it stays as it is.

    Its rules are applied one after the other, then numbers are lowered. Afterwards it knows its scale by name alone,
    and shrinks no further.

    Raises:
        ConfigurationError: a scale that cannot be a part of names, or a rule that sets what no option has.
    """
    scale = config.scale
    if scale.name == FULL and not (scale.rules or scale.lower):
        return config
    if scale.name == FULL or not NAME.fullmatch(str(scale.name)):
        raise ConfigurationError(
            f"scale.name = '{scale.name}' is to mark whatever is made at it: give letters, digits and _, and another "
            f"than {FULL}."
        )
    plain: Any = OmegaConf.to_container(scale, resolve=True)
    name = at_scale(config.name, scale.name)  # of what was asked for, as Hydra has named the run's folder
    with open_dict(config):
        for rule in _rules(plain["rules"], config):
            for key, value in rule["set"].items():
                _put(config, key, value)
        settle(config)
        for key, most in plain["lower"].items():
            for place in _places(key, config):
                _lower(config, place, most)
    scale.lower, scale.rules, config.name = {}, [], name
    return config


def _rules(given: list[Any], config: DictConfig) -> list[Mapping[str, Any]]:
    """Those that are for what the configuration asks for."""
    for number, rule in enumerate(given):
        _require_rule(rule, f"scale.rules[{number}]")
    return [rule for rule in given if _holds(rule.get("when") or {}, config)]


def _require_rule(rule: Any, place: str) -> None:
    if not isinstance(rule, Mapping) or not isinstance(rule.get("set"), Mapping) or set(rule) - {"when", "set"}:
        raise ConfigurationError(
            f"{place} = {rule!r}: give `set`, values by dotted keys, and `when`, the values of others that it is for."
        )


def _holds(when: Mapping[str, Any], config: DictConfig) -> bool:
    """Whether each key has the value, or one of the values, that it is said to have."""
    return all(
        OmegaConf.select(config, key, default=None) in (value if isinstance(value, list) else [value])
        for key, value in when.items()
    )


def _put(config: DictConfig, key: str, value: Any) -> None:
    """A value in place of another; of a group that chose no option there is none to replace. `small:NAME` is a folder
    with random weights that genuq makes in the store, see `pretrained.small`.
    """
    group = key.split(".")[0]
    if isinstance(value, str) and value.startswith(SMALL):
        from genuq.pretrained.small import small_folder  # slow libraries

        value = str(small_folder(value.removeprefix(SMALL), Path(config.store).expanduser().absolute()))
    if OmegaConf.select(config, group, default=None) is not None:
        OmegaConf.update(config, key, value, merge=False, force_add=True)


def _places(key: str, config: DictConfig) -> Iterator[str]:
    """A key of `posterior` at each of the run's posteriors."""
    yield key
    group, _, own = key.partition(".")
    if group == "posterior":
        yield from (f"{BESIDE}.{name}.{own}" for name in config.get(BESIDE) or {})


def _lower(config: DictConfig, key: str, most: float) -> None:
    place, _, own = key.rpartition(".")
    node = OmegaConf.select(config, place, default=None)
    if isinstance(node, DictConfig) and own in set(map(str, node)) and not OmegaConf.is_missing(node, own):
        value = node[own]
        if value is None or (isinstance(value, int | float) and value > most):
            node[own] = most
