"""The schema of the whole configuration; those of the groups' options are made of the library, see `config.options`."""

from __future__ import annotations

import hashlib
import os
import warnings
from dataclasses import dataclass, field
from typing import Annotated, Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from genuq.config.options import GROUPS, model_node, names_of, node_of
from genuq.config.usual_posterior import LAST_LAYER, asks_of_the_head, usual_posterior
from genuq.parts import Part, register_of
from genuq.parts.bounds import Count, Items, OneOf, Seed
from genuq.store.scales import FULL, mark_of


@dataclass
class ProcessConfig:
    name: str = MISSING  # flow_matching or variance_preserving
    schedule: str = "linear"  # variance_preserving; linear, scaled_linear, cosine, each also with _zero_snr behind it
    train_timesteps: int = 1000  # variance_preserving: entries of the table


@dataclass
class AutoencoderConfig:
    name: Annotated[str, OneOf("vae", "diffusers")] = MISSING
    latent_channels: Count | None = None  # vae
    channels: Annotated[list[Count], Items()] | None = None  # vae: hidden features
    path: str | None = None  # diffusers: folder of save_pretrained, or hub name
    class_name: str | None = None  # diffusers: AutoencoderKL, AutoencoderTiny, ...


@dataclass
class ModelConfig:
    name: str = MISSING
    process: ProcessConfig = field(default_factory=ProcessConfig)
    prediction: str = MISSING  # epsilon, sample, v_prediction, flow
    class_conditional: bool = True
    head: str | None = None  # dotted name of the last weighted layer; null: the last Conv2d or Linear
    checkpoint: str | None = None  # reference[:VARIANT]: shipped with genuq; a path; null: this run's own training
    autoencoder: AutoencoderConfig | None = None  # null: the process runs on pixels


@dataclass
class ScaleConfig:
    """How large a run is made; see `config.scales`.

    Attributes:
        name: `full`, or what marks everything that is made at this scale.
        lower: by dotted key, the most that a number may be; null counts as more.
        rules: of each `set`, values by dotted key, and `when`, the values that other keys must have for it.
    """

    name: str = FULL
    lower: dict[str, Any] = field(default_factory=dict)
    rules: list[Any] = field(default_factory=list)


@dataclass
class Config:
    """The whole configuration. What stands under a group is the schema of its chosen option, see `config.options`;
    of `propagator` and `application` none need be chosen. `model` is genuq's own schema, or that of a function of the
    user's own.

    Attributes:
        parts: class paths that the configuration named, by group and name of the part; genuq fills it in, so that the
            other processes of the run find the same parts.
    """

    name: str = MISSING
    seed: Seed = 0
    stages: Annotated[list[str], Items(distinct=True)] = field(default_factory=list)
    device: str = "auto"
    store: str = "outputs/store"
    objective: str | None = None  # a number of the evaluation, for a search
    study: str | None = None  # null: `name`
    worker: int = 0  # that tells apart jobs which make one run together
    data: Any = MISSING
    model: Any = MISSING
    network: Any = MISSING
    sampler: Any = MISSING
    posterior: Any = MISSING
    beside: dict[str, Any] = field(default_factory=dict)  # further posteriors, posterior@beside.NAME=...
    likelihood: Any = MISSING
    score: Any = MISSING
    metric: Any = MISSING
    propagator: Any = None  # of weight uncertainty to every pixel
    application: Any = None  # what is done with the uncertainty
    trainer: Any = MISSING
    logger: Any = MISSING
    scale: ScaleConfig = field(default_factory=ScaleConfig)
    parts: dict[str, Any] = field(default_factory=dict)


def folder_name(overrides: str, longest: int = 150) -> str:
    """The overrides of a sweep's job as the name of its folder: no slashes, and as short as file systems want it."""
    plain = overrides.replace("/", "_")
    written = os.fsencode(plain)  # file systems count bytes, not letters
    if len(written) <= longest:
        return plain
    whole_letters = written[:longest].decode(errors="ignore")
    return f"{whole_letters}-{hashlib.sha256(os.fsencode(overrides)).hexdigest()[:12]}"


_registered: list[Any] = []  # the store that has the schemas, and the parts that they are of


def register() -> None:
    """Make the schemas known to Hydra: `schema` for the whole, GROUP/schema_NAME for each option that has one, and
    GROUP/NAME for each part of an installed package. Called again it does nothing, unless there are other parts.
    """
    accept_plugins()
    OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)
    OmegaConf.register_new_resolver("scale_mark", mark_of, replace=True)
    OmegaConf.register_new_resolver("usual_posterior", usual_posterior, replace=True)
    store = ConfigStore.instance()
    registers = [known.register for known in GROUPS.values() if known.register is not None]
    asked = [store, *(part for each in (*registers, register_of("model")) for part in each.values())]
    if len(asked) == len(_registered) and all(one is other for one, other in zip(asked, _registered)):
        return
    store.store(name="schema", node=whole())
    store.store(group="model", name="schema_described", node=ModelConfig)
    store.store(group="scale", name="schema_scale", node=ScaleConfig)
    for group in GROUPS:
        for name in names_of(group):
            store.store(group=group, name=f"schema_{name}", node=node_of(group, name))
    for group, part in installed_options():
        store.store(group=group, name=part.name, node=option_of(group, part))
    for part in register_of("model").values():
        if part.builtin:
            store.store(group="model", name=f"schema_{part.name}", node=model_node(part))
        elif part.distribution is not None:
            store.store(group="model", name=part.name, node=option_of_any_size(part))
    _registered[:] = asked


def option_of_any_size(part: Part) -> DictConfig:
    """A model of somebody's own as an option: its network may be large, and the default posterior keeps two square
    matrices for every layer."""
    return over_the_last_layer(model_node(part))


def option_of(group: str, part: Any) -> DictConfig:
    """A part of somebody's own as an option; one that asks for the head's covariance, or may, chooses a posterior that
    has it.
    """
    node = node_of(group, part.name)
    return over_the_last_layer(node) if asks_of_the_head(group, part) else node


def over_the_last_layer(node: DictConfig) -> DictConfig:
    """An option that chooses a posterior over the last layer, unless the run names one."""
    last_layer = ["_self_", {"override /posterior@_global_.posterior": LAST_LAYER}]
    OmegaConf.update(node, "defaults", last_layer, force_add=True)
    return node


def accept_plugins() -> None:
    """No warning of our file of a launcher, which bears its plugin's name to be composed with and without it."""
    warnings.filterwarnings("ignore", message="(?s).*validated against ConfigStore schema with the same name")


def whole() -> DictConfig:
    """The schema of the whole. A group takes any key, since a file may set one for another option of it: after the
    composition `config.plugged.settle` leaves those out, and refuses what no option has.
    """
    node: DictConfig = OmegaConf.structured(Config)
    for group in GROUPS:
        if OmegaConf.is_missing(node, group):
            node[group] = {}
            OmegaConf.set_struct(node[group], False)
    OmegaConf.set_struct(node.beside, False)
    return node


def installed_options() -> list[tuple[str, Part]]:
    """(group, part) of the parts of installed packages, each of which is an option of its group."""
    registers = {group: known.register for group, known in GROUPS.items()}
    return [
        (group, part)
        for group, register in registers.items()
        if register is not None
        for part in register.values()
        if part.distribution is not None
    ]
