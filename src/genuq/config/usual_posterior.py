"""Which posterior a run has that names none: what `usual_posterior` in conf/config.yaml stands for.

Over all layers, unless the network may be large or a propagator needs the covariance of the head. Options of genuq, of
packages and by class path say so themselves; here it is seen of option files of the user's own that name a class path.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_store import ConfigStore

from genuq.config.options import TARGET
from genuq.config.own_options import options_of
from genuq.errors import GenuqError
from genuq.parts import register_of

ALL_LAYERS, LAST_LAYER = "kfac", "exact_laplace"
TARGETS = "own_targets"  # group of Hydra's store, which launchers hand to the processes of their jobs


def usual_posterior(model: str | None, propagator: str | None, application: str | None) -> str:
    """The posterior of a run with these options, unless it names one.

    Args:
        model, propagator, application: names of the chosen options; None where none is chosen.
    """
    large = _target_of("model", model) is not None
    asks = _asks_of_the_head("propagator", propagator) or _asks_of_the_head("application", application)
    return LAST_LAYER if large or asks else ALL_LAYERS


def asks_of_the_head(group: str, part: Any) -> bool:
    """Whether a part needs the covariance of the head, or may: a propagator, or an application that names one."""
    if group == "propagator":
        return bool(part.needs_variance)
    return group == "application" and "propagator" in part.option_names


def remember_targets(folders: Sequence[Path]) -> None:
    """Have the class paths in option files of these folders known, and no others, to compositions to come."""
    store = ConfigStore.instance()
    store.repo.pop(TARGETS, None)
    for group in ("model", "propagator", "application"):
        for name in options_of(group, folders):
            if (path := _written_target(group, name, folders)) is not None:
                store.store(group=f"{TARGETS}/{group}", name=name, node={TARGET: path})


def _target_of(group: str, name: str | None) -> str | None:
    """The class path in the user's option file of this name."""
    found = ConfigStore.instance().repo.get(TARGETS, {}).get(group, {}).get(f"{name}.yaml")
    return None if found is None else str(found.node[TARGET])


def _written_target(group: str, name: str, folders: Sequence[Path], above: tuple[str, ...] = ()) -> str | None:
    """The class path that an option file has, or the one of its folders that it begins with."""
    files = [path for folder in folders if (path := folder / group / f"{name}.yaml").is_file()]
    if name in above or not files:
        return None
    try:
        written: Any = yaml.safe_load(files[0].read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeError):  # said when it is chosen
        return None
    if not isinstance(written, Mapping):
        return None
    for keys in (written, written.get(group)):
        if isinstance(keys, Mapping) and isinstance(target := keys.get(TARGET), str):
            return target
    begins = [entry for entry in written.get("defaults") or [] if isinstance(entry, str)]
    found = (_written_target(group, entry.partition("@")[0], folders, (*above, name)) for entry in begins)
    return next((target for target in found if target is not None), None)


def _asks_of_the_head(group: str, name: str | None) -> bool:
    """Of the part in the user's option file of this name."""
    path = _target_of(group, name)
    try:
        return path is not None and asks_of_the_head(group, register_of(group).plugged(path))
    except GenuqError:  # said when the configuration is settled
        return False
