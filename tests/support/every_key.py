"""Every key of the configuration with values that cannot be, tried as far as a run goes before its first stage."""

from __future__ import annotations

import copy
import dataclasses
import functools
import traceback
import types
import typing
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from genuq.config import schemas
from genuq.config.options import GROUPS, keys_of, names_of
from genuq.config.plugged import settle
from genuq.config.values import check_values
from genuq.errors import GenuqError
from genuq.parts import register_of
from genuq.pipeline.memory import Memory
from genuq.pipeline.preflight import check_settings
from genuq.pipeline.run import Run
from support.small_runs import IMAGES, POINTS, composed

NOWHERE = "nowhere"
HUGE = 2**62
NAN, INFINITY = float("nan"), float("inf")
# What a value of a type may not be, or must be shown to be sound for the key (`LEGITIMATE` of the tests).
OF_KIND: dict[Any, list[Any]] = {
    int: ["many", 1.5, [1], -1, 0, HUGE],
    float: ["many", [1.0], -1.0, 0.0, NAN, INFINITY, -INFINITY, 1e300],
    str: [["a"], "", NOWHERE],
    bool: ["maybe", [True]],
    list[int]: ["many", [], [0], [-1], [HUGE], ["many"]],
    list[float]: ["many", [], [-1.0], [2.0, 3.0], [NAN], [INFINITY], [0.5, 0.5], ["many"]],
    list[str]: ["many", [""], [NOWHERE]],
    dict[str, Any]: ["many", {NOWHERE: 1}],
}
NULLABLE = types.NoneType


class Outcome(Enum):
    """How a value of a key was met."""

    TYPE = "refused by its type"
    NAMED = "refused with key and value"
    UNNAMED = "refused without key or value"
    TRACEBACK = "an error that is none of genuq's"
    ACCEPTED = "accepted"


class Trial(NamedTuple):
    """A value given to a key of one base."""

    base: str
    key: str
    value: Any

    def __str__(self) -> str:
        return f"{self.base}: {self.key}={self.value}"


def wrong_values(kind: Any) -> list[Any]:
    """What is tried of a type; None where it is not optional."""
    inside = [part for part in typing.get_args(kind) if part is not types.NoneType]
    optional = types.NoneType in typing.get_args(kind)
    plain = inside[0] if optional else kind
    return [*OF_KIND[plain], *([] if optional else [None])]


POINTS_OF = {
    "data": ("gaussian_mixture",),
    "network": ("mlp",),
    "likelihood": ("pixel",),
    "sampler": None,
    "posterior": None,
    "propagator": None,
    "score": None,
    "trainer": None,
    "logger": None,
    "application": ("filter", "best_of_n", "augment"),
}
OWN = {  # what an option needs to be sound
    "network=dit": ["network.patch=4", "network.width=16", "network.heads=2", "network.depth=1"],
    "sampler=ddim": [],
    "posterior=mc_dropout": ["posterior.layers=[head]", "posterior.rate=0.1"],
    "posterior=isotropic_network": ["posterior.relative_perturbation=0.01"],
    "posterior=swag": ["posterior.members=2", "posterior.steps=2"],
    "posterior=subnetwork_laplace": ["posterior.fraction=0.5"],
    "likelihood=semantic": ["likelihood.extractor=pixels"],
    "application=filter": ["application.fraction=0.5"],
    "application=augment": ["application.samples=4", "propagator=trajectory"],
    "application=guide": ["application.samples=4"],
    "application=best_of_n": ["application.n=2"],
    "application=rectify": ["application.witness_images=20"],
}


def bases() -> dict[str, tuple[str, str]]:
    """(group, option) by the name of the base: each option once."""
    return {f"{group}={name}": (group, name) for group in GROUPS for name in names_of(group)}


def overrides_of(base: str, image_root: Path) -> list[str]:
    """A sound small run with this option."""
    group, name = bases()[base]
    on_points = group in POINTS_OF and (POINTS_OF[group] is None or name in POINTS_OF[group])
    chosen = [] if group in ("metric", "score", "trainer") or (group, name) == ("data", "image_folder") else [base]
    small = POINTS if on_points else [*IMAGES, f"data.root={image_root}"]
    small = [text for text in small if keeps(text, group, name)]
    return [*small, *chosen, *OWN.get(base, [])]


def keeps(text: str, group: str, name: str) -> bool:
    """Whether an override of a small run is about what this option has."""
    key = text.split("=")[0]
    place, _, last = key.rpartition(".")
    if group == "data" and key == "experiment":
        return True
    return place != group or last in keys_of(group, name)


@functools.cache
def base_config(base: str, image_root: Path) -> DictConfig:
    schemas.register()
    return composed(*overrides_of(base, image_root))


def place_of(base: str) -> str:
    return bases()[base][0]


def trials(base: str) -> Iterator[Trial]:
    group, name = bases()[base]
    for key, (kind, _) in keys_of(group, name).items():
        for value in wrong_values(kind):
            yield Trial(base, f"{group}.{key}", value)


def tried(trial: Trial, image_root: Path, folder: Path, memory: Memory, deep: bool = True) -> tuple[Outcome, str]:
    """What a run says of a value before its first stage.

    Args:
        deep: go on to the preflight, which needs the data.
    """
    config = copy.deepcopy(base_config(trial.base, image_root))
    config.store = str(folder / "store")
    return met(config, trial.key, trial.value, lambda: check_settings(Run(config, folder, "genuq", memory=memory)), deep)


def met(config: DictConfig, key: str, value: Any, check: Callable[[], None], deep: bool) -> tuple[Outcome, str]:
    try:
        OmegaConf.update(config, key, value, merge=not isinstance(value, dict))
    except OmegaConfBaseException as error:
        return Outcome.TYPE, f"{error.full_key}: {str(error).splitlines()[0]}"
    try:
        settle(config)
        check_values(config)
        if deep:
            check()
    except GenuqError as error:
        said = str(error)
        return (Outcome.NAMED if key in said and shown(value, said) else Outcome.UNNAMED), said
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        return Outcome.TRACEBACK, f"{type(error).__name__}: {str(error)[:100]} ({Path(last.filename).name}:{last.lineno})"
    return Outcome.ACCEPTED, ""


def shown(value: Any, said: str) -> bool:
    """Whether a message says the value, as given or as the key's type has it."""
    if isinstance(value, list):
        return all(shown(each, said) for each in value)
    return str(value) in said or (value in ("", None, []))
