"""The keys of each option of a group, taken from the library itself: a default stands once, in the part that has it.

A part has its own options (`Part.options`); what all parts of a group share stands in the dataclass of the library that
takes it (`FitSettings`, `Sampler`, `Optimisation`, ...). Both together are the schema of `GROUP=NAME`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from omegaconf import DictConfig, OmegaConf

from genuq.errors import ConfigurationError
from genuq.parts import Part, Register, options_of, register_of
from genuq.parts.bounds import Count, Items, Limits, OneOf, Several
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
EVALUATION, CURVES = "genuq.analysis:EvaluationSettings", "genuq.analysis.metrics:CURVES"
OPTIMISATION, HARDWARE = "genuq.training.optimisation:Optimisation", "genuq.parallel.hardware:Hardware"

TARGET = "_target_"  # the key of a class path

Keys = dict[str, tuple[Any, Any]]  # name: (type, default as a field of a dataclass)


@dataclass
class Draws:
    """What all posteriors share.

    Attributes:
        draws: M weight draws of each sample (DIFF-UQ uses 5); of an ensemble at most the number of its members.
    """

    draws: Several = 5


@dataclass
class Sized:
    """Of weight noise.

    Attributes:
        match: the posterior whose size it takes: `posterior`, or a name of `beside`.
    """

    match: str | None = None


@dataclass
class Drawn:
    """Of all samplers.

    Attributes:
        samples: how many.
        keep_path: also keep the states of every step and what the network answered there, for scores of the path
            that are computed later; twice the size of an image a step, three times with guidance.
    """

    samples: Count = 1024
    keep_path: bool = False


@dataclass
class Subset:
    """Of all data sets.

    Attributes:
        subset: train on a seeded uniform subset of this many; None: all.
        starve: by name of a class, the share of its images that the training set keeps; 0 leaves the class out.
        permute: the label of a class that is left out goes to random images of the others; else nothing has it.
    """

    subset: Count | None = None
    starve: dict[str, float] = field(default_factory=dict)
    permute: bool = True


@dataclass
class Embedded:
    """Of a likelihood that embeds.

    Attributes:
        extractor: a name of `genuq.extractors.EXTRACTORS`, or a class path.
        options: of the extractor: `image_size`, `checkpoint`, ...
    """

    extractor: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Regenerations:
    """Of all likelihoods.

    Attributes:
        include_unperturbed: the unperturbed sample counts as one more draw (DIFF-UQ).
        batch_size: samples at a time; changes no number.
    """

    include_unperturbed: bool = True
    batch_size: Count = 64


@dataclass
class Columns:
    """Of all scores.

    Attributes:
        name: the score that the run is about, a name of `genuq.scores.SCORES`.
        also: further ones in the table.
        controls: what should not work, beside it.
        weak_checkpoint: file of an earlier checkpoint of the network, for `weak_model_gap`; `reference:VARIANT` for one
            that is shipped with genuq.
        maps: keep the variance of each pixel of the disagreements in pixels, and judge it where an oracle knows the
            wrong ones.
        budget: the most that sampling with the score may cost over sampling alone, in network evaluations: a pilot
            chooses the points, times, members and noisings whose ranking is nearest to that of all of them. Of the
            score `name`, made at points of the path or of finished samples noised again; None: all of them.
        stop: the cheapest part of this work whose `ranking`, or `decision` which samples to keep, a pilot shows to be
            that of all of it, up to `tolerance`; None: all of it.
        tolerance: of `stop`: 1 less Spearman's correlation, or the share of samples that are kept by one and dropped by
            the other; the probability that it is more is at most 5 %.
        pilot: samples that choose, none of the run's own.
        frontier: also score with the first few points, times, members and noisings, whatever their number, for a figure
            of what each finds and costs.
    """

    name: str = "entropy"
    also: Annotated[list[str], Items(0, distinct=True)] = field(default_factory=list)
    controls: Annotated[list[str], Items(0, distinct=True)] = field(
        default_factory=lambda: ["random", "complexity", "direct_noise", "jitter", "isotropic"]
    )
    weak_checkpoint: str | None = None
    maps: bool = False
    budget: Annotated[float, Limits(least=1)] | None = None
    stop: Annotated[str, OneOf("ranking", "decision")] | None = None
    tolerance: Annotated[float, Limits(above=0, below=1)] = 0.1
    pilot: Annotated[int, Limits(16, 65536)] = 64
    frontier: bool = False


@dataclass
class Judged:
    """Who judges, beside `EvaluationSettings`.

    Attributes:
        extractor: classifier, points, a name of `genuq.extractors.EXTRACTORS`, or a class path.
        options: of the extractor.
        reference_images: real test images.
        statistics: .npz of others with `mu` and `sigma` of the judge's features, which the FIDs of the evaluation
            compare with in place of these images.
        reference: what all metrics compare with in place of the test images: ADM's reference batch (.npz with `arr_0`),
            or a folder of the judge's features (.npy or .safetensors).
        allow_shared_extractor: mark, do not refuse, a judge that is also the scoring encoder.
        truth: what says which samples are bad: `judge`, or `oracle`, the rules that the data were drawn by.
        bad: of an oracle, the faults that count as bad; none: all. Samples with other faults are then left out.
        curves: the metrics of curves and bins, names of `genuq.analysis.METRICS` or class paths.
        prompt_model: a CLIP whose score says how well samples show their prompts: the folder that save_pretrained of
            transformers' CLIPModel and CLIPProcessor wrote, or OWNER/NAME of the hub; None: no CLIP score.
        download: of prompt_model, fetch what the hub's cache lacks.
    """

    extractor: str = "classifier"
    options: dict[str, Any] = field(default_factory=dict)
    reference_images: Several = 5000
    statistics: str | None = None
    reference: str | None = None
    allow_shared_extractor: bool = False
    truth: Annotated[str, OneOf("judge", "oracle")] = "judge"
    bad: Annotated[list[str], Items(0, distinct=True)] = field(default_factory=list)
    curves: Annotated[list[str], Items(1, distinct=True)] = field(default_factory=lambda: list(library(CURVES)))
    prompt_model: str | None = None
    download: bool = False


@dataclass
class Counted:
    """Which pixels the score of a propagator counts.

    Attributes:
        mask: image file of the images' size: only its white pixels count.
    """

    mask: str | None = None


@dataclass
class Trained:
    """Of all trainers.

    Attributes:
        start_from: a checkpoint whose weights the training starts from; None: fresh ones.
        early_step: also leave `early.safetensors`, the averaged weights after this many of the steps: the earlier
            checkpoint that `weak_model_gap` compares with; None: no such file.
        autoencoder_steps: of latent diffusion with our autoencoder.
        judge_steps: of the stage judge.
    """

    start_from: str | None = None
    early_step: Count | None = None
    autoencoder_steps: Count = 1500
    judge_steps: Count = 1400


@dataclass
class Wandb:
    """Weights & Biases.

    Attributes:
        project, entity: where the runs go; None: wandb's own choice.
        mode: offline or online.
        samples: rows in the table of samples, evenly through the ranking.
    """

    project: str = "genuq"
    entity: str | None = None
    mode: Annotated[str, OneOf("offline", "online")] = "offline"
    samples: Several = 64


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
        return taken(Draws) | of_members(part.name)
    keys = taken(Draws) | taken(FIT, "held_out", "repeats", "batch_size") | taken(SCALE)
    if part.source == "images":
        keys |= taken(FIT, "images")
    if part.scope == "head":
        keys |= taken(FIT, "time_bins")
    if issubclass(part.resolve(), library(LAYERS)):
        keys |= taken(FIT, "fisher_draws")
    if part.kind == "control":
        keys |= taken(Sized)
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
    shared = taken(SAMPLER, *named)
    for name in ("steps", "guidance_scale"):  # null: those that the model itself has
        kind, entry = shared[name]
        shared[name] = nullable(kind, entry, entry.default)
    return taken(Drawn) | shared | taken(ENGINE) | own(part)


def of_likelihood(part: Any) -> Keys:
    return (taken(Embedded) if part.needs_extractor else {}) | own(part) | taken(Regenerations)


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
    return found | taken(Columns)


def same(one: Any, other: Any) -> bool:
    return one.default == other.default and made(one) == made(other)


def made(entry: Any) -> Any:
    return None if entry.default_factory is dataclasses.MISSING else entry.default_factory()


def of_propagator(part: Part) -> Keys:
    shared = (
        own(register_of("score")["pixel_variance"]) | taken(Counted) | renamed(taken(MAPS, "method", "draws"), "map_")
    )
    return shared | own(part)


def of_metric(_: Any) -> Keys:
    return taken(EVALUATION, without=("seed", "metrics")) | taken(Judged)


def of_trainer(_: Any) -> Keys:
    return taken(OPTIMISATION, without=("seed",)) | taken(HARDWARE) | taken(Trained)


GROUPS: Mapping[str, Group] = {
    "data": Group("data", lambda part: taken(Subset) | own(part)),
    "network": Group("network", own),
    "sampler": Group("solver", of_sampler),
    "posterior": Group("posterior", of_posterior),
    "likelihood": Group("likelihood", of_likelihood),
    "propagator": Group("propagator", of_propagator),
    "score": Group("score", of_scores),
    "metric": Group(None, of_metric, ("metric",)),
    "application": Group("application", own),
    "trainer": Group(None, of_trainer, ("trainer",)),
    "logger": Group(None, lambda name: taken(Wandb) if name == "wandb" else {}, ("csv", "none", "wandb")),
}
NAMELESS = ("metric", "trainer")  # groups whose options have no `name`: they differ in their values alone


def names_of(group: str) -> list[str]:
    """The options of a group that have a schema of their own."""
    known = GROUPS[group]
    if group == "score":
        return ["score"]
    return list(known.options) if known.register is None else list(known.register)


def keys_of(group: str, name: str) -> Keys:
    """The keys of one option, by its part's name.

    Raises:
        ConfigurationError: there is no such part.
    """
    known = GROUPS[group]
    if group == "score":  # all have the keys of all; those of an installed one are about it
        return known.keys(None) | ({} if name == group else {"name": (str, dataclasses.field(default=name))})
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
