"""The parts that stages share, each as a record of what it depends on: data, model, sampler; see also
`genuq.pipeline.judging`.

A record enters the fingerprint of every stage that declares it, and opens what it stands for when the work of a stage
first asks for it. What was opened once is opened for all stages of a run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import MISSING

from genuq import data, models, solvers
from genuq.data import Dataset
from genuq.errors import ConfigurationError
from genuq.identity import identity_of, neutral, where_given
from genuq.models import Engine, GenerativeModel, Sampler, find_head
from genuq.models.checkpoints import load_model
from genuq.models.description import is_plugged
from genuq.parts import Part, identity
from genuq.pipeline.memory import Memory
from genuq.posteriors.base import digest
from genuq.randomness import isolated, seed_everything
from genuq.store.upstream import FileContent, Upstream

UNREAD = "not read"  # in place of the digest of weights that a plan does not look at


@dataclass(frozen=True)
class PartInputs:
    """A part by its name, with its options.

    Attributes:
        name: in its register.
        options: its arguments; what is not here keeps the part's own default.
        code: what identifies the code of a part that is not genuq's own; None for genuq's, whose stages have versions.
    """

    name: str
    options: Mapping[str, Any]
    code: Mapping[str, Any] | None


def part_inputs(part: Part, options: Mapping[str, Any]) -> PartInputs:
    """A registered part with these options, but for those declared `where_given` that are None."""
    target = part.resolve()
    later = {each.name for each in fields(target) if "where_given" in each.metadata} if is_dataclass(target) else set()
    given = {key: value for key, value in options.items() if value is not None or key not in later}
    return PartInputs(part.name, given, code_of(part))


def code_of(part: Part) -> Mapping[str, Any] | None:
    """What identifies the code of a part that is not genuq's own; None for genuq's."""
    return None if part.builtin else identity(part)


def foreign_code(parts: Iterable[Part]) -> dict[str, Any]:
    """By name, what identifies the code of those of the parts that are not genuq's own."""
    return {part.name: code for part in parts if (code := code_of(part)) is not None}


@dataclass(frozen=True)
class DataInputs:
    """A data set, by its content, wherever it lies.

    Attributes:
        identity: fingerprints of the splits that may be read.
        options: how they are loaded.
        subset: of the training set, a seeded one of this many; None for all.
        seed: of the subset.
    """

    identity: Mapping[str, str]
    options: Mapping[str, Any] = neutral()
    subset: int | None = neutral()
    seed: int = neutral()
    memory: Memory = neutral()

    @property
    def train(self) -> Dataset:
        """The training set."""
        return self._split("train")

    @property
    def test(self) -> Dataset:
        """The test set."""
        return self._split("test")

    def _split(self, split: str) -> Dataset:
        if split not in self.identity:
            raise LookupError(f"the {split} set is not declared here")
        return load_split(self.memory, self.options, split, self.subset, self.seed)


def load_split(
    memory: Memory, options: Mapping[str, Any], split: str, subset: int | None = None, seed: int = 0
) -> Dataset:
    """One split of a data set.

    Args:
        options: of the data set, with its `name`.
        split: train or test.
        subset: of the training set, a seeded one of this many.
        seed: of the subset.
    """
    given = own_options(options)
    whole: Dataset = memory(["data", split, given, options["name"]], lambda: data.load(options["name"], split, **given))
    if split != "train":
        return whole
    shares, permute = options.get("starve") or {}, options.get("permute", True)
    if shares:
        fed = whole
        whole = memory(["starved", options, seed], lambda: data.starved(fed, shares, seed, permute))
    if subset is None:
        return whole
    return memory(["subset", split, options, subset, seed], lambda: data.subset(whole, subset, seed))


def own_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """What a data set itself takes of its options, without what is left to its defaults."""
    absent, shared = (None, MISSING), ("name", "subset", "starve", "permute")
    return {key: value for key, value in options.items() if value not in absent and key not in shared}


@dataclass(frozen=True)
class ModelInputs:
    """A trained model.

    Attributes:
        weights: this run's own training, or a checkpoint's file; None: those that a user's own model comes with.
        head: dotted name of the last weighted layer; None: the last Conv2d or Linear.
        autoencoder: digest of the folder that holds its autoencoder, where that is not in the checkpoint.
        description: of the model, which that in the file must agree with.
        device: where the model is put.
    """

    weights: Upstream | FileContent | None
    head: str | None
    autoencoder: str | None
    description: Mapping[str, Any] = neutral()
    device: torch.device = neutral()
    memory: Memory = neutral()

    @property
    def path(self) -> Path | None:
        """The checkpoint's file."""
        if isinstance(self.weights, Upstream):
            return self.weights.path / "model.safetensors"
        return None if self.weights is None else self.weights.path

    @property
    def file_name(self) -> str:
        """What its weights are called in a report."""
        assert self.path is not None
        return self.path.name

    def open(self) -> GenerativeModel:
        """The model on its device.

        Raises:
            GenuqError: no such file, another model, weights that are not finite, or no such head.
        """
        key = ["model", identity_of(self), str(self.path), self.description, str(self.device)]
        return self.memory(key, self._load)

    def _load(self) -> GenerativeModel:
        assert self.path is not None
        model = load_model(self.path, self.description)[0]
        model.head_name = find_head(model.network, self.head)
        model.check_weights()
        return model.to(self.device)


@dataclass(frozen=True)
class PluggedModel:
    """A function of a user's own that builds a model, and what it built.

    Attributes:
        part: the function, with its options but for files.
        files: its options that are files or folders, by content.
        built: digest of the weights that the model comes with: the function may have read them anywhere, or drawn them.
    """

    part: PartInputs
    files: Mapping[str, FileContent]
    built: str


@dataclass(frozen=True, kw_only=True)
class PluggedModelInputs(ModelInputs):
    """A model of a user's own.

    Attributes:
        plugged: what builds it.
        seed: of the weights that it draws.
    """

    plugged: PluggedModel
    seed: int = neutral()

    @property
    def file_name(self) -> str:
        if self.path is not None:
            return self.path.name
        names = [file.path.name for file in self.plugged.files.values()]
        return ", ".join(names) or self.plugged.part.name

    def _load(self) -> GenerativeModel:
        if is_outlined(self.memory, self.description):
            return built(self.memory, self.description, self.seed)
        model = self._whole()
        model.check_weights()
        return model.to(self.device)

    def _whole(self) -> GenerativeModel:
        if self.path is None:
            return built(self.memory, self.description, self.seed)
        with seeded(self.seed):
            return load_model(self.path, self.description)[0]


@dataclass(frozen=True)
class SamplerInputs:
    """How samples are drawn.

    Attributes:
        solver: with its options.
        steps, spacing, guidance_scale, classes, seed: as in `genuq.Sampler`.
        samples: how many.
        batch_size: samples at a time, and in one shard.
        clip_x0, rho, sigma_min, sigma_max: as in `genuq.Sampler`.
        engine: how the network is evaluated.
    """

    solver: PartInputs
    steps: int
    spacing: str
    guidance_scale: float
    classes: tuple[int, ...] | None
    seed: int
    samples: int
    batch_size: int
    clip_x0: bool = where_given(False)
    engine: Engine = where_given(default_factory=Engine)
    rho: float | None = where_given(None)
    sigma_min: float | None = where_given(None)
    sigma_max: float | None = where_given(None)

    def build(self, model: GenerativeModel) -> Sampler:
        """The sampler for this model."""
        return Sampler(
            solver=solvers.build(self.solver.name, **self.solver.options).of(model),
            steps=self.steps,
            spacing=self.spacing,
            guidance_scale=self.guidance_scale,
            seed=self.seed,
            classes=self.classes,
            batch_size=self.batch_size,
            clip_x0=self.clip_x0,
            rho=self.rho,
            sigma_min=self.sigma_min,
            sigma_max=self.sigma_max,
        )


def available(name: str) -> torch.device:
    """The device called `name`; ConfigurationError where this machine has none."""
    try:
        found = torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].split(". ")[0]
        raise ConfigurationError(f"device = '{name}' cannot be used: {reason}. Use device=auto, or cpu.") from error
    if found.type == "meta":
        raise ConfigurationError("device = 'meta' cannot be used: nothing is computed there. Use device=auto, or cpu.")
    return found


def untrained(memory: Memory, description: Mapping[str, Any], device: torch.device, seed: int) -> GenerativeModel:
    """A model before any training: sizes, shapes and times are those of the trained one."""
    if is_outlined(memory, description):
        return built(memory, description, seed)
    if is_plugged(description):
        return built(memory, description, seed).to(device)
    key = ["untrained", description, str(device)]
    return memory(key, lambda: models.build(dict(description)).to(device).eval())


def is_outlined(memory: Memory, description: Mapping[str, Any]) -> bool:
    """Whether this model is opened on the meta device, its weights never read."""
    return memory.outlines and models.has_outline(description)


def built(memory: Memory, description: Mapping[str, Any], seed: int) -> GenerativeModel:
    """A model of a user's own as its function builds it, which may draw its weights.

    Args:
        seed: of these weights.
    """

    def build() -> GenerativeModel:
        make = models.outline if is_outlined(memory, description) else models.build
        with seeded(seed):
            return make(description).eval()

    return memory(["built", description, seed], build)


def weights_built(memory: Memory, description: Mapping[str, Any], seed: int) -> str:
    """Digest of the weights of that model."""
    key = ["weights built", description, seed]
    return memory(key, lambda: digest(built(memory, description, seed).state_dict()))


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """All global generators at a seed; afterwards they are where they were."""
    with isolated():
        seed_everything(seed)
        yield
