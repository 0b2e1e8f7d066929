"""Parts of the user's own by class path: with `posterior._target_=my_lab.Spectral` an option like any other.

A class path becomes an option of its group, called by the path, before Hydra composes anything; so that values, sweeps,
launchers and plans treat it as they treat a shipped one. What was named stands in `parts` of the configuration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from genuq import parts
from genuq.config.options import GROUPS, MAY_BE_NONE, NONE, TARGET, node_of, owners
from genuq.config.plugged_models import model_known_as, settle_model
from genuq.config.schemas import option_of
from genuq.errors import ConfigurationError, did_you_mean
from genuq.parts import Part

BESIDE = "beside"
# Keys whose value names parts: (group of parts); lists as well as single names.
NAMING = {
    "likelihood.extractor": "extractor",
    "metric.extractor": "extractor",
    "metric.curves": "metric",
    "score.name": "score",
    "score.also": "score",
    "score.controls": "score",
    "application.propagator": "propagator",
    "application.witnesses": "extractor",
}


def is_path(name: Any) -> bool:
    """Whether a value is a class path: dotted, and its first name can be imported. Models of timm have dots, too."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_]\w*(\.\w+)+(:[\w.]+)?|[A-Za-z_][\w.]*:[\w.]+", name):
        return False
    try:
        return find_spec(re.split(r"[.:]", name)[0]) is not None
    except (ImportError, ValueError):
        return False


# Before Hydra composes


def as_options(texts: Sequence[str]) -> list[str]:
    """The overrides with each class path as the choice of an option, which is known to Hydra from now on.

    `GROUP._target_=PATH` and `GROUP=PATH` become `GROUP=PATH`, `beside.NAME._target_=PATH` becomes
    `+posterior@beside.NAME=PATH`; several paths are several options.

    Raises:
        ConfigurationError: a group that takes no class path, or a path that is no part of it; see `parts.plugged`.
    """
    return [_as_option(text) for text in texts]


def _as_option(text: str) -> str:
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException:
        return text  # the check of all overrides says what is wrong
    key = override.key_or_group
    place = key.removesuffix(f".{TARGET}")
    if place == "model":
        return _model_option(override, text)
    if place == key:
        return _option_by_path(override, text)
    beside = place.startswith(f"{BESIDE}.") and place.count(".") == 1
    group = "posterior" if beside else place
    if group not in GROUPS or GROUPS[group].parts is None:
        raise ConfigurationError(f"{key}: only {', '.join(groups_with_parts())} take a class path.")
    names = [known_as(group, path, key) for path in _values(override)]
    return f"{f'+posterior@{place}' if beside else group}={','.join(names)}"


def _model_option(override: Override, text: str) -> str:
    """A function that builds the model, typed as its class path or as an option."""
    values, targeted = _values(override), override.key_or_group != "model"
    if not targeted and not any(map(is_path, values)):
        return text
    names = [model_known_as(value) if targeted or is_path(value) else value for value in values]
    return f"{override.get_key_element().removesuffix(f'.{TARGET}').lstrip('+')}={','.join(names)}"


def _option_by_path(override: Override, text: str) -> str:
    """A class path typed as an option, as the one that names the run's folders is."""
    group = override.key_or_group
    if group not in groups_with_parts() or not any(is_path(value) for value in _values(override)):
        return text
    names = [known_as(group, value, group) if is_path(value) else value for value in _values(override)]
    return f"{override.get_key_element()}={','.join(names)}"


def _values(override: Override) -> list[str]:
    """What an override sets, as texts."""
    if override.is_choice_sweep():
        return [str(value).strip("'\"") for value in override.sweep_string_iterator()]
    return [str(override.value()).strip("'\"")]


def groups_with_parts() -> list[str]:
    return [name for name, group in GROUPS.items() if group.parts is not None]


def known_as(group: str, path: str, key: str) -> str:
    """The option that a class path is, now known to Hydra; of one of genuq's own or installed parts the name."""
    kind = GROUPS[group].parts
    assert kind is not None
    part = parts.plugged(path, kind, key)
    if part.builtin or part.distribution is not None:
        return part.name
    name, node = path.replace(":", "."), option_of(group, part)
    if group == "score":
        node.name = part.name
    OmegaConf.update(node, TARGET, path, force_add=True)
    ConfigStore.instance().store(group=group, name=name, node=node)
    return name


# After it has composed


def settle(config: DictConfig) -> DictConfig:
    """Make a composed configuration ready for a run, in place: class paths become names, with the paths in `parts`;
    each group has the keys of its option and no other; one of which none was chosen is null.

    Keys of other options of a group, which an experiment has set for the option that it chooses itself, are left out.

    Raises:
        ConfigurationError: a class path that is no part of its group, or a key that no option of the group has.
    """
    named: dict[str, Any] = {kind: dict(paths) for kind, paths in (config.get("parts") or {}).items()}
    plug(named)
    for key, kind in NAMING.items():
        _settle_value(config, key, kind, named)
    for place, group in places(config):
        _settle_option(config, place, group, named)
        if group in MAY_BE_NONE and config[group].name == NONE:
            config[group] = None
    settle_model(config, named)
    config.parts = named
    return config


def places(config: DictConfig) -> list[tuple[str, str]]:
    """(dotted key, group) of each chosen option of a composed configuration."""
    own = [(group, group) for group in GROUPS if isinstance(config._get_node(group), DictConfig) and config[group]]
    beside = config.get(BESIDE)
    return [*own, *((f"{BESIDE}.{name}", "posterior") for name in (beside or {}))]


def chosen_parts(config: DictConfig) -> list[Part]:
    """The registered parts that a settled configuration names."""
    model = config.model
    found: list[Part] = [] if "process" in model else [parts.register_of("model")[model.name]]
    for place, group in places(config):
        kind, node = GROUPS[group].parts, OmegaConf.select(config, place)
        found += [] if kind is None or group == "score" else [parts.register_of(kind)[node.name]]
    for key, kind in NAMING.items():
        value = OmegaConf.select(config, key, default=None)
        names = list(value) if isinstance(value, ListConfig) else [value]
        register = parts.register_of(kind)
        found += [register[name] for name in names if name in register]
    return found


def plug(named: Mapping[str, Mapping[str, str]]) -> None:
    """Have the parts whose class paths this run's configuration named, in this process, too."""
    for kind, paths in named.items():
        for name, path in paths.items():
            parts.plugged(path, kind, f"parts.{kind}.{name}")


def _settle_option(config: DictConfig, place: str, group: str, named: dict[str, Any]) -> None:
    node, kind = OmegaConf.select(config, place), GROUPS[group].parts
    if kind is not None and (path := node.get(TARGET)) is not None:
        part = parts.plugged(path, kind, f"{place}.{TARGET}")
        if node.get("name") is None:
            raise ConfigurationError(f"{place}.{TARGET} = '{path}': add `name: {part.name}` to the file that says so.")
        named.setdefault(kind, {})[part.name] = path
        node.name = part.name
    schema = node_of(group, schema_name(group, place, node))
    known = list(map(str, schema))  # `in schema` takes a value that is missing for a missing key
    for key in map(str, node):
        if key not in known and key != TARGET and not owners(group, key):
            raise ConfigurationError(f"'{place}.{key}' is not a key of the configuration.{did_you_mean(key, known)}")
    kept = {key: node._get_node(key) for key in map(str, node) if key in known}
    try:
        OmegaConf.update(config, place, OmegaConf.merge(schema, kept), merge=False)
    except OmegaConfBaseException as error:
        raise ConfigurationError(f"{place}.{error.full_key}: {str(error).splitlines()[0]}") from error


def _settle_value(config: DictConfig, key: str, kind: str, named: dict[str, Any]) -> None:
    """Names in place of the class paths among what a key names."""
    group, _, own = key.partition(".")
    node = config._get_node(group)
    if not isinstance(node, DictConfig) or node._is_none() or own not in node:
        return
    value = node[own]
    found = [_name_of(each, kind, key, named) for each in (value if isinstance(value, ListConfig) else [value])]
    if isinstance(value, ListConfig):
        node[own] = found
    elif value is not None:
        node[own] = found[0]


def _name_of(value: Any, kind: str, key: str, named: dict[str, Any]) -> Any:
    if not is_path(value):
        return value
    part = parts.plugged(value, kind, key)
    if not part.builtin:
        named.setdefault(kind, {})[part.name] = value
    return part.name


def schema_name(group: str, place: str, node: DictConfig) -> str:
    if group == "score" or (GROUPS[group].parts is None and group != "logger"):
        return group
    if (name := node.get("name")) is None:
        raise ConfigurationError(f"{place}.name must be given: add {place}.name=... to the command, or to the file.")
    return str(name)


# What was typed and nothing reads


def unread(job: Sequence[str], config: DictConfig) -> dict[str, str]:
    """Keys that the overrides of a job set and that nothing in this job reads, with what to say of each.

    Args:
        config: of the job, settled.
    """
    found = {}
    for override in OverridesParser.create().parse_overrides(list(job)):
        place, _, key = override.key_or_group.rpartition(".")
        group = place if place in MAY_BE_NONE else dict(places(config)).get(place)
        if group is None or override.is_delete():
            continue
        if key not in list(OmegaConf.select(config, place) or ()):
            found[f"{place}.{key}"] = _belongs(place, group, key, config)
        elif group == "score" and (readers := readers_of(key)) and not readers & columns_of(config):
            found[f"{place}.{key}"] = (
                f"'{place}.{key}' is read by no column of this run: `{key}` belongs to {in_words(sorted(readers))}, to "
                f"be asked for with score.also=[{min(readers)}]."
            )
    return found


def _belongs(place: str, group: str, key: str, config: DictConfig) -> str:
    node = OmegaConf.select(config, place)
    chosen = NONE if node is None else node.name
    return f"'{place}.{key}' is not a key of '{chosen}': `{key}` belongs to {in_words(owners(group, key))}."


def readers_of(key: str) -> set[str]:
    """The scores that read a key of `score`."""
    return {name for name, score in parts.register_of("score").items() if key in map(score.key_of, score.option_names)}


def columns_of(config: DictConfig) -> set[str]:
    return {config.score.name, *config.score.also, *config.score.controls}


def in_words(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
