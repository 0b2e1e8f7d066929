"""Checking what the user typed, all jobs of a sweep at once, before any of them starts."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import genuq
from genuq.errors import ConfigurationError, did_you_mean
from genuq.stages.configuration import Config
from genuq.stages.plugins import check_plugins

SEARCH = "hydra/sweeper=search"
SEARCH_PATH = "hydra.searchpath"  # the key, and the beginning of what Hydra calls its entries' provider
CONFIG_DIRECTORY = ("--config-dir", "-cd")


def config_directory() -> Path:
    """conf/: inside an installed package, or at the root of a clone."""
    package = Path(genuq.__file__).parent
    inside, beside = package / "conf", package.parents[1] / "conf"
    return inside if inside.is_dir() else beside


def folders_of(entries: Iterable[str]) -> tuple[Path, ...]:
    """Folders of entries of Hydra's search path, `PATH`, `file://PATH` or `pkg://MODULE`; none of what has no files."""
    found = []
    for entry in entries:
        scheme, _, place = entry.rpartition("://")
        if scheme == "pkg" and (spec := find_spec(place.replace("/", "."))) is not None:
            found += [Path(location) for location in spec.submodule_search_locations or ()]
        elif scheme in ("", "file"):
            found.append(Path(place))
    return tuple(found)


def search_path(arguments: Sequence[str]) -> list[str]:
    """What the arguments add to Hydra's search path: `--config-dir`, then `hydra.searchpath`."""
    pairs = list(zip(arguments, [*arguments[1:], ""]))
    own = [after for flag, after in pairs if flag in CONFIG_DIRECTORY]
    own += [text.split("=", 1)[1] for text in arguments if text.startswith(f"{CONFIG_DIRECTORY[0]}=")]
    given = [text for text in arguments if text.lstrip("+").startswith(f"{SEARCH_PATH}=")]
    for override in OverridesParser.create().parse_overrides(overrides=given):
        value: Any = override.value()
        own += map(str, value)
    return own


def check_overrides(arguments: Sequence[str]) -> None:
    """Compose the configuration of every job that the arguments ask for; raises as `configurations` does."""
    for _ in configurations(arguments):
        pass


def configurations(arguments: Sequence[str]) -> Iterator[tuple[tuple[str, ...], DictConfig]]:
    """The overrides and the configuration of every job that the arguments ask for.

    Raises:
        ConfigurationError: an unknown key, option or value; the message names it and the near match.
    """
    texts = [argument for argument in arguments if not argument.startswith("-")]
    check_plugins(texts)
    with initialize_config_dir(str(config_directory()), version_base="1.3"):
        for job in tried(texts) if SEARCH in texts else jobs(texts):
            try:
                config = _composed(job)
                _require_values(config)
            except (HydraException, OmegaConfBaseException) as error:
                raise ConfigurationError(_explain(error, job)) from error
            yield job, config


def _composed(job: Sequence[str]) -> DictConfig:
    try:
        return compose("config", overrides=list(job))
    except ValueError as error:  # Hydra's own for GROUP=null
        nothing = [text.removesuffix("=null") for text in job if text.endswith("=null")]
        if not nothing:
            raise
        raise ConfigurationError(f"{nothing[0]}=null: to choose no option of a group, write ~{nothing[0]}.") from error


def jobs(texts: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The overrides of each job of a sweep; one job where nothing is swept."""
    return itertools.product(*_choices(texts))


def tried(texts: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The overrides of as many jobs as have every value of a search once, and of every interval both ends."""
    choices = _choices(texts)
    for number in range(max(map(len, choices), default=1)):
        yield tuple(values[number % len(values)] for values in choices)


def _choices(texts: Sequence[str]) -> list[list[str]]:
    """For each override, what it is in the jobs."""
    try:
        overrides = OverridesParser.create().parse_overrides(overrides=list(texts))
    except HydraException as error:
        raise ConfigurationError(
            f"{str(error).splitlines()[0]} Overrides look like group=option or group.key=value."
        ) from error
    return [
        [f"{override.get_key_element()}={value}" for value in _values(override, SEARCH in texts)]
        if override.is_sweep_override()
        else [str(override.input_line)]
        for override in overrides
    ]


def _values(override: Override, searches: bool) -> list[str]:
    if not override.is_interval_sweep():
        return list(override.sweep_string_iterator())
    if not searches:
        raise ConfigurationError(
            f"{override.input_line}: an interval needs a search. Add {SEARCH}, or list the values."
        )
    interval: Any = override.value()
    return [str(interval.start), str(interval.end)]


def _require_values(config: DictConfig) -> None:
    _require_known(config, Config)
    missing = sorted(OmegaConf.missing_keys(config) - {"hydra"})
    missing = [key for key in missing if not key.startswith("hydra")]
    if missing:
        raise ConfigurationError(f"{missing[0]} must be given: add {missing[0]}=... to the command.")
    OmegaConf.to_container(config, resolve=True)


def _require_known(node: DictConfig, schema: type, prefix: str = "") -> None:
    """Refuse keys that no schema has: Hydra adds them where they come with a + or from a file of the user's."""
    known = [field.name for field in fields(schema)]
    for name in known:
        if name not in set(node.keys()):  # `in node` takes a value that is missing for a missing key
            raise ConfigurationError(f"'{prefix}{name}' was deleted. Give a value instead: {prefix}{name}=null, say.")
    for key in map(str, node):
        if key not in known:
            raise ConfigurationError(f"'{prefix}{key}' is not a key of the configuration.{did_you_mean(key, known)}")
        value = node._get_node(key)
        if isinstance(value, DictConfig) and is_dataclass(inner := OmegaConf.get_type(value)):
            _require_known(value, inner, f"{prefix}{key}.")


def _explain(error: Exception, job: Sequence[str]) -> str:
    """Hydra's complaint about the overrides of a job in the user's words, with the near match."""
    text = "\n".join(str(part) for part in (error, error.__cause__) if part)
    if group := re.search(r"Could not find '([^']+)/([^'/]+)'", text):
        options = [path.stem for path in (config_directory() / group[1]).glob("*.yaml")]
        return f"{group[1]}={group[2]}: there is no such option.{did_you_mean(group[2], options)}"
    if key := re.search(r"Key '([^']+)' (?:is )?not in '([^']+)'|Could not override '([^']+)'", text):
        full = re.search(r"full_key: (\S+)", text)
        name = (full and full[1]) or key[3] or key[1]
        return f"'{name}' is not a key of the configuration.{_near_key(name, job)}"
    if value := re.search(r"(.*)\s+full_key: (\S+)", text):
        hint = " A list is written [a,b]." if "ListConfig" in value[1] else ""
        return f"{value[2]}: {value[1].rstrip('.')}.{hint}"
    return text.strip().splitlines()[0]


def _near_key(name: str, job: Sequence[str]) -> str:
    """The nearest key in the same group, and all of them, under the job's choices of groups."""
    choices = [text for text in job if (config_directory() / text.split("=")[0]).is_dir()]
    *groups, last = name.split(".")
    try:
        whole: Any = compose("config", overrides=choices)
    except HydraException:  # the fault is in the file of one of the choices
        whole = compose("config", overrides=[])
    try:
        for group in groups:
            whole = whole[group]
    except (KeyError, TypeError, OmegaConfBaseException):
        return did_you_mean(groups[0], [str(key) for key in compose("config", overrides=[])])
    return did_you_mean(last, [str(key) for key in whole]) if isinstance(whole, DictConfig) else ""
