"""Checking what the user typed, all jobs of a sweep at once, before any of them starts."""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, RangeSweep
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

import genuq
from genuq.config.job import without_none
from genuq.config.options import NONE
from genuq.config.own_options import SEARCH_PATH, folders_of, options_of, search_path, searched, with_folders
from genuq.config.plugged import as_options, settle, unread
from genuq.config.plugins import check_plugins
from genuq.config.scales import shrunk
from genuq.config.schemas import Config
from genuq.config.usual_posterior import remember_targets
from genuq.config.values import check_values
from genuq.errors import ConfigurationError, did_you_mean

SEARCH = "hydra/sweeper=search"
LISTED = 20  # values of a range that a message writes out


def config_directory() -> Path:
    """conf/: inside an installed package, or at the root of a clone."""
    package = Path(genuq.__file__).parent
    inside, beside = package / "conf", package.parents[1] / "conf"
    return inside if inside.is_dir() else beside


def prepared(overrides: Sequence[str], folders: Sequence[str | Path] = ()) -> list[str]:
    """The overrides as all later steps read them: folders of own options in the search path, class paths as options,
    no glob left.

    Args:
        overrides: as typed.
        folders: of `--config-dir`.

    Raises:
        ConfigurationError: a folder that is not there, a glob that matches no option, or a class path that is no part.
    """
    texts = with_folders(overrides, folders)
    roots = searched(texts, config_directory())
    remember_targets(roots[1:])
    return as_options([_written_out(text, roots) if "glob(" in text else text for text in texts])


def _written_out(text: str, roots: Sequence[Path]) -> str:
    (override,) = _parsed([text])
    if not isinstance(override.value(), Glob):
        return text
    return f"{override.get_key_element()}=choice({','.join(_matches(override, roots))})"


def require_one_job(texts: Sequence[str]) -> None:
    """Raise ConfigurationError for several values where no sweep was asked for."""
    for override in _parsed(texts):
        if override.is_sweep_override():
            raise ConfigurationError(
                f"{override.input_line}: several values are a sweep: add -m, or put them into [] where a list is meant."
            )


def check_overrides(arguments: Sequence[str]) -> None:
    """Compose the configuration of every job that the arguments ask for; raises as `configurations` does."""
    for _ in configurations(arguments):
        pass


def configurations(arguments: Sequence[str]) -> Iterator[tuple[tuple[str, ...], DictConfig]]:
    """The overrides and the configuration of every job that the arguments ask for.

    Raises:
        ConfigurationError: an unknown key, option or value; the message names it and the near match. After the last
            job: a key that was set and that no job reads.
    """
    texts = [argument for argument in arguments if not argument.startswith("-")]
    searched(texts, config_directory())
    check_plugins(texts)
    passed: list[dict[str, str]] = []
    with initialize_config_dir(str(config_directory()), version_base="1.3"):
        for job in tried(texts) if SEARCH in texts else jobs(texts):
            try:
                _require_options(job)
                config = compose("config", overrides=list(job))
                _require_values(config)
                passed.append(unread(job, config))
                check_values(shrunk(config))
            except (HydraException, OmegaConfBaseException) as error:
                raise ConfigurationError(_explain(error, job)) from error
            except YAMLError as error:
                where = ", ".join(map(str, folders_of(search_path(job))))
                raise ConfigurationError(f"an option file of {where} is no YAML: {error}") from error
            yield job, config
    for key, complaint in passed[0].items():
        if all(key in each for each in passed):  # in a sweep over options a key is for those that have it
            raise ConfigurationError(complaint)


def _require_options(job: Sequence[str]) -> None:
    """Refuse a group of which no option would be chosen, by null or by ~, where one must be."""
    roots = [config_directory(), *folders_of(search_path(job))]
    for override in _parsed(job):
        group, beside = override.key_or_group, override.package is not None
        options = [] if group.startswith("hydra") else options_of(group, roots)
        deleted = override.is_delete() and not beside and NONE not in options
        if not options or not (deleted or (override.value() is None and not override.is_delete())):
            continue
        if beside:
            remedy = "leave it out, or give an option."
        elif NONE in options:
            remedy = f"to choose no option, write {group}={NONE}."
        else:
            remedy = f"a run needs one. Known: {', '.join(options)}."
        raise ConfigurationError(f"{override.input_line}: {remedy}")


def choices_of(job: Sequence[str]) -> dict[str, str | None]:
    """The chosen option of every group, under the overrides of one job; None of one of which none was chosen."""
    with initialize_config_dir(str(config_directory()), version_base="1.3"):
        config = compose("config", overrides=list(job), return_hydra_config=True)
    return without_none(config.hydra.runtime.choices)


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
    roots = [config_directory(), *folders_of(search_path(texts))]
    return [
        [f"{override.get_key_element()}={value}" for value in _values(override, SEARCH in texts, roots)]
        if override.is_sweep_override()
        else [str(override.input_line)]
        for override in _parsed(texts)
    ]


def _parsed(texts: Sequence[str]) -> list[Override]:
    try:
        return OverridesParser.create().parse_overrides(overrides=list(texts))
    except HydraException as error:
        raise ConfigurationError(
            f"{str(error).splitlines()[0]} Overrides look like group=option or group.key=value; a value with any of "
            "=,()[]{} or letters beyond ASCII in it stands in two pairs of quotes, 'group.key=\"value\"'."
        ) from error


def _values(override: Override, searches: bool, roots: Sequence[Path]) -> list[str]:
    """What a swept override is in the jobs; the ends of an interval."""
    value: Any = override.value()
    if isinstance(value, Glob):
        return _matches(override, roots)
    if isinstance(value, RangeSweep):
        _require_whole(override, value)
    if not override.is_interval_sweep():
        return list(override.sweep_string_iterator())
    if not searches:
        raise ConfigurationError(
            f"{override.input_line}: an interval needs a search. Add {SEARCH}, or list the values."
        )
    return [str(value.start), str(value.end)]


def _matches(override: Override, roots: Sequence[Path]) -> list[str]:
    """The options that a glob stands for, those of the user's own folders included."""
    glob: Any = override.value()
    group = override.key_or_group
    known = options_of(group, roots)
    if not known:
        raise ConfigurationError(f"{override.input_line}: '{group}' is no group of options. List the values instead.")
    if found := glob.filter(known):
        return list(found)
    raise ConfigurationError(f"{override.input_line} matches no option. Known: {', '.join(known)}.")


def _require_whole(override: Override, swept: RangeSweep) -> None:
    """Refuse a range of decimals: by rounding it has one value too many, and 0.30000000000000004 beside 0.3."""
    numbers = [Decimal(str(number)) for number in (swept.start, swept.stop, swept.step)]
    start, stop, step = numbers
    key = override.get_key_element()
    if not step or not all(number.is_finite() for number in numbers):
        raise ConfigurationError(f"{override.input_line}: a range needs a step other than 0. List the values instead.")
    if all(isinstance(number, int) for number in (swept.start, swept.stop, swept.step)):
        return
    count = max(0, math.ceil((stop - start) / step))
    listed = [_written(start + number * step, numbers) for number in range(min(count, LISTED))]
    more = ",..." if count > LISTED else ""
    raise ConfigurationError(
        f"{override.input_line}: a range of decimals ends where rounding lets it. Write the list: "
        f"{key}={','.join(listed)}{more}"
    )


def _written(value: Decimal, numbers: Sequence[Decimal]) -> str:
    """A value of a range as it is typed: without a decimal where start, stop and step are whole."""
    return str(value if any(number % 1 for number in numbers) else int(value))


def _require_values(config: DictConfig) -> None:
    _require_known(config, Config)
    settle(config)
    missing = sorted(OmegaConf.missing_keys(config) - {"hydra"})
    missing = [key for key in missing if not key.startswith("hydra")]
    if missing:
        raise ConfigurationError(f"{missing[0]} must be given: add {missing[0]}=... to the command.")
    OmegaConf.to_container(config, resolve=True)
    check_values(config)


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
        options = options_of(group[1], searched(job, config_directory()))
        return f"{group[1]}={group[2]}: there is no such option.{did_you_mean(group[2], options)}"
    if key := re.search(r"Key '([^']+)' (?:is )?not in '([^']+)'|Could not override '([^']+)'", text):
        full = re.search(r"full_key: (\S+)", text)
        name = (full and full[1]) or key[3] or key[1]
        return f"'{name}' is not a key of the configuration.{_near_key(name, job)}"
    if value := re.search(r"(.*)\s+full_key: (\S+)", text):
        hint = " A list is written [a,b]." if "ListConfig" in value[1] else ""
        return f"{value[2]}: {value[1].rstrip('.')}.{hint}"
    return text.strip().splitlines()[0]


def _has(whole: DictConfig, group: str, key: str) -> bool:
    node = None if OmegaConf.is_missing(whole, group) else whole[group]
    return isinstance(node, DictConfig) and key in node


def _near_key(name: str, job: Sequence[str]) -> str:
    """The nearest key in the same group, and all of them, under the job's choices of groups."""
    roots = searched(job, config_directory())
    own = [text for text in job if text.startswith(SEARCH_PATH)]
    choices = [*own, *(text for text in job if any(os.path.isdir(root / text.split("=")[0]) for root in roots))]
    *groups, last = name.split(".")
    try:
        whole: Any = compose("config", overrides=choices)
    except HydraException:  # the fault is in the file of one of the choices
        whole = compose("config", overrides=[])
    if not groups and (places := [str(group) for group in whole if _has(whole, str(group), last)]):
        return f" Did you mean {' or '.join(f'{group}.{last}' for group in places)}?"
    try:
        for group in groups:
            whole = whole[group]
    except (KeyError, TypeError, OmegaConfBaseException):
        return did_you_mean(groups[0], [str(key) for key in compose("config", overrides=[])])
    return did_you_mean(last, [str(key) for key in whole]) if isinstance(whole, DictConfig) else ""
