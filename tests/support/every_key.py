"""Every key of the configuration with values that cannot be, tried as far as a run goes before its first stage."""

from __future__ import annotations

import copy
import functools
import traceback
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from genuq.config import schemas
from genuq.config.options import GROUPS, bounds_of, keys_of, names_of, node_of
from genuq.config.plugged import settle
from genuq.config.values import SCHEMAS, check_values
from genuq.errors import ConfigurationError, GenuqError
from genuq.parallel.requirements import require_hardware
from genuq.parts.bounds import check, declared
from genuq.pipeline.memory import Memory
from genuq.pipeline.preflight import check_settings
from genuq.pipeline.run import Run, hardware_of
from support.small_runs import IMAGES, POINTS, composed

NOWHERE = "nowhere"
HUGE = 2**62
NAN, INFINITY = float("nan"), float("inf")
# By type, values that are wrong, or that have to be shown to be sound for the key.
OF_KIND: dict[Any, list[Any]] = {
    int: ["many", 1.5, [1], -1, 0, HUGE],
    float: ["many", [1.0], -1.0, 0.0, NAN, INFINITY, -INFINITY, 1e300],
    str: [["a"], "", NOWHERE],
    bool: ["maybe", [True]],
    list[int]: ["many", [], [0], [-1], [HUGE], ["many"]],
    list[float]: ["many", [], [-1.0], [2.0, 3.0], [NAN], [INFINITY], [0.5, 0.5], ["many"]],
    list[str]: ["many", [""], [NOWHERE], [NOWHERE, NOWHERE]],
    dict[str, Any]: ["many", {NOWHERE: 1}],
}
APPLIED = "stages=[train,judge,fit,sample,embed,score,evaluate,apply]"
ON_POINTS = ("sampler", "posterior", "propagator", "score", "trainer", "logger")  # groups whose options know points
POINTS_TOO = ("data=gaussian_mixture", "network=mlp", "likelihood=pixel", "application=filter", "application=best_of_n")
IN_SMALL_RUNS = ("data=image_folder", "data=gaussian_mixture", "score=score", "metric=metric", "trainer=trainer")
NEEDED: Mapping[str, list[str]] = {  # that an option is sound
    "network=dit": ["network.patch=4", "network.width=16", "network.heads=2", "network.depth=1"],
    "posterior=mc_dropout": ["posterior.layers=[head]", "posterior.rate=0.1"],
    "posterior=map": ["score.name=trajectory_variance", "score.also=[]", "score.controls=[random]"],
    "posterior=isotropic_network": ["posterior.relative_perturbation=0.01"],
    "posterior=swag": ["posterior.members=2", "posterior.steps=2"],
    "posterior=ivon": ["posterior.steps=2"],
    "posterior=subnetwork_laplace": ["posterior.fraction=0.5"],
    "application=filter": [APPLIED, "application.fraction=0.5"],
    "application=best_of_n": [APPLIED, "application.n=2"],
    "application=augment": [APPLIED, "application.samples=4", "sampler.steps=5"],
    "application=guide": [APPLIED, "application.samples=4"],
    "application=rectify": [APPLIED, "application.witness_images=20", "sampler.steps=5"],
    "model.process": ["model=ddpm"],
    "model.autoencoder": ["model=latent_diffusion", "network=unet", "network.stem=1", "network.channels=[8,16]"],
}


class Outcome(Enum):
    """How a value was met."""

    EARLY = "by its type, or by the bounds declared with it"
    NAMED = "before the first stage, by a sentence with key and value"
    UNNAMED = "before the first stage, by a sentence without key or value"
    TRACEBACK = "by an error that is none of genuq's"
    ACCEPTED = "accepted"


@dataclass(frozen=True)
class Trial:
    """A value given to a key.

    Attributes:
        chosen: the option that has it, `posterior=kfac`; of genuq's own schema the place of the key.
        place: dotted key of the group, empty at the top.
        key: within it.
        kind: its type.
        bounds: its type with what is declared with it.
        value: that is tried.
    """

    chosen: str
    place: str
    key: str
    kind: Any
    bounds: Any
    value: Any

    @property
    def full_key(self) -> str:
        return f"{self.place}.{self.key}".lstrip(".")

    def __str__(self) -> str:
        return f"{self.chosen}: {self.full_key}={self.value}"


def wrong_values(kind: Any) -> list[Any]:
    """What is tried of a type, of all where it may be one of several; None where it is not optional."""
    optional = types.NoneType in typing.get_args(kind)
    inside = [part for part in typing.get_args(kind) if part is not types.NoneType] if optional else [kind]
    return [*(value for part in inside for value in OF_KIND[part]), *([] if optional else [None])]


def trials() -> Iterator[Trial]:
    """Each value that can be wrong, of every key of every option and of genuq's own schema."""
    for group in GROUPS:
        for name in names_of(group):
            for key, (kind, default) in keys_of(group, name).items():
                for value in wrong_values(bounds_of(default) if kind is Any else kind):
                    yield Trial(f"{group}={name}", group, key, kind, bounds_of(default), value)
    for place, schema in SCHEMAS.items():
        plain, bounds = typing.get_type_hints(schema), declared(schema)
        for field in fields(schema):
            kind = plain[field.name]
            if (
                kind is Any
                or any(map(is_dataclass, (kind, *typing.get_args(kind))))
                or field.name in ("beside", "parts")
            ):
                continue  # a group, or its place
            for value in wrong_values(kind):
                yield Trial(place or "genuq", place, field.name, kind, bounds[field.name], value)


def early(trial: Trial) -> Outcome | None:
    """Whether the type or the bounds of a key refuse a value, as they do when it is typed."""
    node = copy.deepcopy(typed(trial.chosen, trial.place))
    try:
        OmegaConf.update(node, trial.key, trial.value, merge=not isinstance(trial.value, dict))
    except OmegaConfBaseException:
        return Outcome.EARLY
    plain = OmegaConf.to_container(node)[trial.key]  # type: ignore[index,call-overload]
    try:
        check(trial.full_key, plain, trial.bounds)
    except ConfigurationError as error:
        return Outcome.EARLY if names(str(error), trial) else Outcome.UNNAMED
    return None


@functools.cache
def typed(chosen: str, place: str) -> DictConfig:
    """The keys of an option, or of genuq's own schema at a place, with their types."""
    return node_of(*chosen.split("=")) if "=" in chosen else OmegaConf.structured(SCHEMAS[place])


def before_the_first_stage(trial: Trial, image_root: Path, folder: Path) -> tuple[Outcome, str]:
    """What a sound run says of a value before its first stage."""
    config = copy.deepcopy(sound(trial.chosen, image_root))
    config.store = str(folder / "store")
    try:
        OmegaConf.update(config, trial.full_key, trial.value, merge=not isinstance(trial.value, dict))
        settle(config)
        check_values(config)
        run = Run(config, folder, "genuq", memory=memory(trial.chosen))
        check_settings(run)
        require_hardware(hardware_of(run))
    except GenuqError as error:
        return (Outcome.NAMED if names(str(error), trial) else Outcome.UNNAMED), str(error)
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        return Outcome.TRACEBACK, f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"
    return Outcome.ACCEPTED, ""


def names(said: str, trial: Trial) -> bool:
    """Whether a message has the key and the value."""
    return trial.full_key in said and _shows(said, trial.value)


def _shows(said: str, value: Any) -> bool:
    if isinstance(value, list | dict):
        return all(_shows(said, each) for each in value)
    return str(value) in said or value == ""


@functools.cache
def sound(chosen: str, image_root: Path) -> DictConfig:
    """A small run with an option, in which nothing is wrong."""
    schemas.register()
    group = chosen.split("=")[0]
    on_points = group in ON_POINTS or chosen in POINTS_TOO or chosen in ("genuq", "model")
    small = [text for text in (POINTS if on_points else [*IMAGES, f"data.root={image_root}"]) if _fits(text, chosen)]
    own = [] if "=" not in chosen or chosen in IN_SMALL_RUNS else [chosen]
    return composed(*small, *own, *NEEDED.get(chosen, []))


def _fits(text: str, chosen: str) -> bool:
    """Whether an override of a small run is of a key that the option has."""
    group, _, name = chosen.partition("=")
    place, _, key = text.split("=")[0].rpartition(".")
    return not name or place != group or key in keys_of(group, name)


@functools.cache
def memory(chosen: str) -> Memory:
    """What the trials of an option may share."""
    return Memory()
