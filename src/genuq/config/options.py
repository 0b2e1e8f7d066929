"""The keys of each option of a group, taken from the library itself: a default stands once, in the part that has it.

A part has its own options (`Part.options`); what all parts of a group share stands in the dataclass of the library that
takes it (`FitSettings`, `Sampler`, `Optimisation`, ...), or in `genuq.config.shared`. Together they are the schema of
`GROUP=NAME`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from genuq.config import shared
from genuq.errors import ConfigurationError
from genuq.parts import Part, Register, options_of, register_of
from genuq.parts.options import BOUNDS
from genuq.parts.targets import located

# What the parts of a group share, imported when a schema is first made: --help waits for no library.
FIT, SCALE = "genuq.posteriors:FitSettings", "genuq.posteriors:ScaleOptions"
LAYERS = "genuq.posteriors.curvature.layers:LayersPosterior"
MEMBERS = "genuq.training.member_settings:MemberSettings"
ONLINE_NEWTON = "genuq.training.member_settings:OnlineNewton"
READ_BY_ALL, READ_BY_KIND = (f"genuq.training.member_settings:READ_BY_{which}" for which in ("ALL", "KIND"))
SAMPLER, ENGINE = "genuq.models:Sampler", "genuq.models:Engine"
MAPS = "genuq.propagators:pixel_map"
EVALUATION = "genuq.analysis:EvaluationSettings"
OPTIMISATION, HARDWARE = "genuq.training.optimisation:Optimisation", "genuq.parallel.hardware:Hardware"

TARGET = "_target_"  # the key of a class path

Keys = dict[str, tuple[Any, Any]]  # name: (type, default as a field of a dataclass)


@dataclass(frozen=True)
class Group:
    """A group of options.

    Attributes:
        parts: of the register that its options are in; None where the configuration itself has them all.
        keys: of one option, by its part.
        options: names of the options, where no register has them.
    """

    parts: str | None
    keys: Callable[[Any], Keys]
    options: tuple[str, ...] = ()

    @property
    def register(self) -> Register[Any] | None:
        return None if self.parts is None else register_of(self.parts)


def library(path: str) -> Any:
    """What stands at `module:attribute` of genuq."""
    return located(path, path)


def taken(source: Any, *names: str, without: Iterable[str] = ()) -> Keys:
    """The options of a dataclass or a function, or of that at a path, as keys: those named, or all."""
    found = library(source) if isinstance(source, str) else source
    known = {each.name: (each.type, each) for each in dataclasses.fields(options_of(found))}
    return {name: known[name] for name in (names or known) if name not in without}


def own(part: Part) -> Keys:
    """The options of a part."""
    return {each.name: (each.type, each) for each in dataclasses.fields(part.options)}


def renamed(keys: Keys, prefix: str) -> Keys:
    return {f"{prefix}{name}": entry for name, entry in keys.items()}


def optional(keys: Keys) -> Keys:
    """The same keys, each null unless it is given."""
    return {name: nullable(kind, entry, None) for name, (kind, entry) in keys.items()}


def nullable(kind: Any, entry: Any, default: Any) -> tuple[Any, Any]:
    """A key that may be null too."""
    bounds = {BOUNDS: bounds_of(entry) | None}
    return kind if kind is Any else kind | None, dataclasses.field(default=default, metadata=bounds)


def bounds_of(default: Any) -> Any:
    """The type of a key with the bounds that its option was declared with, by its default as a field."""
    return default.metadata.get(BOUNDS, Any)


def of_posterior(part: Any) -> Keys:
    if part.source == "weights":
        return taken(shared.Draws) | of_members(part.name)
    keys = taken(shared.Draws) | taken(FIT, "held_out", "repeats", "batch_size") | taken(SCALE)
    if part.source == "images":
        keys |= taken(FIT, "images")
    if part.scope == "head":
        keys |= taken(FIT, "time_bins")
    if issubclass(part.resolve(), library(LAYERS)):
        keys |= taken(FIT, "fisher_draws")
    if part.kind == "control":
        keys |= taken(shared.Sized)
    return keys | own(part)


def of_members(kind: str) -> Keys:
    """What `MemberSettings` has for a kind; what it leaves to the trainer or to the data is null unless it is given."""
    own_keys = library(READ_BY_KIND)
    if kind not in own_keys:  # refused by `genuq.pipeline.posteriors.check_kind`
        return {}
    keys, scale = taken(MEMBERS, *library(READ_BY_ALL), *own_keys[kind]), taken(SCALE)
    if kind == "ivon":
        keys |= taken(ONLINE_NEWTON)
    left_open = [*scale, "rank", *(("steps", "learning_rate") if kind == "deep_ensemble" else ())]
    keys |= optional({name: keys[name] for name in left_open if name in keys})
    if "checkpoints" in keys:
        bounds = str | list[str] | None
        keys["checkpoints"] = (Any, dataclasses.field(default=None, metadata={BOUNDS: bounds}))
    return keys | {"relative_perturbation": scale["relative_perturbation"]}


def of_sampler(part: Part) -> Keys:
    named = ("steps", "spacing", "rho", "sigma_min", "sigma_max", "guidance_scale", "classes", "clip_x0", "batch_size")
    keys = taken(SAMPLER, *named)
    for name in ("steps", "guidance_scale"):  # null: those that the model itself has
        kind, entry = keys[name]
        keys[name] = nullable(kind, entry, entry.default)
    return taken(shared.Drawn) | keys | taken(ENGINE) | own(part)


def of_likelihood(part: Any) -> Keys:
    return (taken(shared.Embedded) if part.needs_extractor else {}) | own(part) | taken(shared.Regenerations)


def of_scores(_: Any) -> Keys:
    """What all scores share: several of them stand in one table. An option that several have with other defaults is
    null: each one's own.
    """
    found: Keys = {}
    for score in register_of("score").values():
        if score.source == "propagation":
            continue
        for name, entry in own(score).items():
            key = score.key_of(name)
            agree = key not in found or same(found[key][1], entry[1])
            found |= {key: entry} if agree else optional({key: entry})
    return found | taken(shared.Columns)


def same(one: Any, other: Any) -> bool:
    return one.default == other.default and made(one) == made(other)


def made(entry: Any) -> Any:
    return None if entry.default_factory is dataclasses.MISSING else entry.default_factory()


def of_propagator(part: Part) -> Keys:
    of_score = own(register_of("score")["pixel_variance"]) | taken(shared.Counted)
    return of_score | renamed(taken(MAPS, "method", "draws"), "map_") | own(part)


def of_metric(_: Any) -> Keys:
    return taken(EVALUATION, without=("seed", "metrics")) | taken(shared.Judged)


def of_trainer(_: Any) -> Keys:
    return taken(OPTIMISATION, without=("seed",)) | taken(HARDWARE) | taken(shared.Trained)


GROUPS: Mapping[str, Group] = {
    "data": Group("data", lambda part: taken(shared.Subset) | own(part)),
    "network": Group("network", own),
    "sampler": Group("solver", of_sampler),
    "posterior": Group("posterior", of_posterior),
    "likelihood": Group("likelihood", of_likelihood),
    "propagator": Group("propagator", of_propagator),
    "score": Group("score", of_scores),
    "metric": Group(None, of_metric, ("metric",)),
    "application": Group("application", own),
    "trainer": Group(None, of_trainer, ("trainer",)),
    "logger": Group(None, lambda name: taken(shared.Wandb) if name == "wandb" else {}, ("csv", "none", "wandb")),
}
NONE, MAY_BE_NONE = "none", ("propagator", "application")  # GROUP=none is to choose no option, where none need be
NAMELESS = ("metric", "trainer")  # groups whose options have no `name`: they differ in their values alone


def names_of(group: str) -> list[str]:
    """The options of a group that have a schema of their own."""
    known = GROUPS[group]
    if group == "score":
        return ["score"]
    nothing = [NONE] if group in MAY_BE_NONE else []
    return [*(known.options if known.register is None else known.register), *nothing]


def keys_of(group: str, name: str) -> Keys:
    """The keys of one option, by its part's name.

    Raises:
        ConfigurationError: there is no such part.
    """
    known = GROUPS[group]
    if group == "score":  # all have the keys of all; those of an installed one are about it
        return known.keys(None) | ({} if name == group else {"name": (str, dataclasses.field(default=name))})
    if name == NONE and group in MAY_BE_NONE:
        return {"name": (str, dataclasses.field(default=NONE))}
    part = name if known.register is None else known.register.get(name, f"{group}.name")
    named = {} if group in NAMELESS else {"name": (str, dataclasses.field(default=name))}
    return named | known.keys(part)


def node_of(group: str, name: str) -> DictConfig:
    """The keys of one option with their types and defaults, for a configuration.

    Keys that it does not have may be merged into it: those of a file may be meant for another option of the group, see
    `genuq.config.settled`.
    """
    fields = [(key, kind, field_of(default)) for key, (kind, default) in keys_of(group, name).items()]
    return loosened(dataclasses.make_dataclass(f"{group}_{name}", fields, kw_only=True))


def loosened(schema: type) -> DictConfig:
    """A schema's keys with their types, beside which others may stand."""
    node: DictConfig = OmegaConf.structured(schema)
    node._metadata.object_type = dict
    OmegaConf.set_struct(node, False)
    return node


def model_node(part: Part) -> DictConfig:
    """The keys of a model that a function of the user's own builds: its name, and the function's options. As with
    `node_of`, other keys may be merged into it.

    Raises:
        ConfigurationError: one of them is called `name`.
    """
    keys = own(part)
    if "name" in keys:
        raise ConfigurationError(f"model '{part.name}': its parameter 'name' would be model.name. Rename it.")
    fields = [(key, kind, field_of(default)) for key, (kind, default) in keys.items()]
    named = ("name", str, dataclasses.field(default=part.name))
    return loosened(dataclasses.make_dataclass(f"model_{part.name}", [named, *fields], kw_only=True))


def field_of(default: Any) -> Any:
    """A fresh field, of which a dataclass may own each but once; one that must be given is missing."""
    if default.default_factory is not dataclasses.MISSING:
        return dataclasses.field(default_factory=default.default_factory)
    return dataclasses.field(default="???" if default.default is dataclasses.MISSING else default.default)


def owners(group: str, key: str) -> list[str]:
    """Names of the options of a group that have this key."""
    return [name for name in names_of(group) if key in keys_of(group, name)]
