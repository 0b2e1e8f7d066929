"""A saved set: a folder with the samples of one condition, and all that scores of them can be computed from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genuq import files
from genuq.data import Truth
from genuq.errors import ArtefactError, ConfigurationError
from genuq.extractors import EXTRACTORS
from genuq.leaderboard.manifest import (
    EMBEDDINGS,
    ENCODER,
    NETWORK,
    PATHS,
    POSTERIORS,
    SAMPLES,
    SCORES,
    SET,
    TRUTH,
    WEAK,
    Manifest,
    PartEntry,
    remedy,
    require_own,
)
from genuq.leaderboard.results import Condition, ScoreColumn, ScoredSet
from genuq.leaderboard.writing import write_set
from genuq.models import GenerativeModel
from genuq.pipeline.inputs import ModelInputs, PartInputs, SamplerInputs, built
from genuq.pipeline.judging import ExtractorInputs, LikelihoodInputs
from genuq.pipeline.memory import Memory
from genuq.pipeline.posteriors import load_posterior, posterior_path
from genuq.pipeline.shared_scores import weak_weights
from genuq.pipeline.stages.score import DrawsInputs
from genuq.posteriors import Posterior
from genuq.randomness import INITIAL, key
from genuq.store.shards import shard_name
from genuq.store.upstream import FileContent


class SavedSet:
    """The samples of one condition with their truth, their scores, and what further scores can be computed from.

    Opening it reads `set.json` and the sizes of the files. A file is read when something of it is asked for; the first
    time its content is compared with the manifest. Nothing in it is executable, and it names nothing to be run.

    Attributes:
        folder: where it lies.
        manifest: what it says of itself.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest
        self._whole: set[str] = set()
        self._memory = Memory()

    @classmethod
    def open(cls, folder: str | Path, thoroughly: bool = False) -> SavedSet:
        """The set in a folder.

        Args:
            thoroughly: whether every file is read through now.

        Raises:
            ArtefactError: no set lies there; or a file is missing, truncated or was altered, by its name.
        """
        place = Path(folder).expanduser().absolute()
        found = cls(place, Manifest.read(place))
        for name, entry in found.manifest.files.items():
            if not (place / name).is_file():
                raise ArtefactError(f"{place / name} is missing. {remedy(place)}")
            if (place / name).stat().st_size != entry.bytes:
                raise ArtefactError(f"{place / name} is truncated, or of another set. {remedy(place)}")
            if thoroughly:
                found.file(name)
        return found

    @classmethod
    def write(cls, run_folder: str | Path, out: str | Path, condition: Condition | None = None) -> SavedSet:
        """Save the set of a finished run; see `leaderboard.writing.write_set`."""
        write_set(run_folder, out, condition)
        return cls.open(out)

    # What it is

    @property
    def condition(self) -> Condition:
        return self.manifest.condition

    @property
    def fingerprint(self) -> str:
        """Of all that the set holds."""
        return self.manifest.fingerprint

    def __len__(self) -> int:
        return self.manifest.sampler.samples

    @property
    def has_path(self) -> bool:
        """Whether the paths of the samples were kept."""
        return any(name.startswith(f"{PATHS}/") for name in self.manifest.files)

    @property
    def are_images(self) -> bool:
        return len(self.manifest.space.shape) == 3

    # Its files

    def file(self, name: str) -> Path:
        """A file of the set, its content as the manifest has it.

        Raises:
            ArtefactError: it was altered, or the set has none of this name.
        """
        path, entry = self.folder / name, self.manifest.files.get(name)
        if entry is None:
            raise ArtefactError(f"{self.folder} holds no {name}. Write the set again from a run that makes it.")
        if name not in self._whole:
            if files.sha256(path) != entry.sha256:
                raise ArtefactError(f"{path} was altered (its sha256 is not that in {SET}). {remedy(self.folder)}")
            self._whole.add(name)
        return path

    def shard(self, part: str, rows: range) -> dict[str, Tensor]:
        """What one file holds of some samples.

        Args:
            part: `samples`, `path` or `embeddings`.
            rows: one of the manifest's `ranges`.
        """
        return files.read_tensors(self.file(f"{part}/{shard_name(rows.start, rows.stop)}"))[0]

    def column(self, part: str, name: str) -> Tensor:
        """One tensor of all samples; of each file, no other is read."""
        return torch.cat(list(self._parts(part, name)))

    def _parts(self, part: str, name: str) -> Iterator[Tensor]:
        for rows in self.manifest.ranges:
            yield files.read_rows(self.file(f"{part}/{shard_name(rows.start, rows.stop)}"), name, 0, len(rows))

    # What it holds

    @cached_property
    def classes(self) -> Tensor | None:
        """int64 (N,) asked for; None where the model knows none."""
        found = self.column(SAMPLES, "class")
        return found if bool((found >= 0).all()) else None

    @cached_property
    def scores(self) -> dict[str, Tensor]:
        """Of every column of the run's table, (N,) float64."""
        return files.read_tensors(self.file(SCORES))[0]

    @cached_property
    def truth(self) -> Truth:
        """What the oracle of the data says of the samples."""
        stored, words = files.read_tensors(self.file(TRUTH))[0], self.manifest.truth
        names, labels = tuple(words.names), tuple(words.label_names)
        return Truth(stored["kinds"], names, labels, stored["defect_size"], stored["parts"], stored.get("mask"))

    @cached_property
    def complexity(self) -> Tensor | None:
        """float64 (N,), bytes of the images as PNG; None for points."""
        return files.read_tensors(self.file(TRUTH))[0].get("complexity")

    def scored(self) -> ScoredSet:
        """Its scores and its truth."""
        truth, bad = self.truth, [self.truth.of(name) for name in self.manifest.truth.bad]
        left_out = ~truth.valid & ~torch.stack(bad).any(0) if bad else None
        indices, seed = self.column(SAMPLES, "index").tolist(), self.manifest.sampler.seed
        return ScoredSet(
            condition=self.condition,
            columns={name: self._column(name) for name in self.manifest.columns},
            faults={name: found.numpy() for name, found in truth.faults.items()},
            valid=truth.valid.numpy(),
            classes=None if self.classes is None else self.classes.numpy(),
            complexity=None if self.complexity is None else self.complexity.numpy(),
            clusters=np.array([key(seed, index, INITIAL) for index in indices], dtype=np.int64),
            sampling_evaluations=self.manifest.sampling_evaluations,
            left_out=None if left_out is None else left_out.numpy(),
        )

    def _column(self, name: str) -> ScoreColumn:
        entry = self.manifest.columns[name]
        values = self.scores[name].double().numpy()
        return ScoreColumn(values, entry.label, entry.kind, entry.evaluations, entry.seconds, entry.needs_posterior)

    # What it was made with

    @property
    def sampler(self) -> SamplerInputs:
        """How the samples were drawn."""
        entry = self.manifest.sampler
        return SamplerInputs(
            solver=_part(entry.solver),
            steps=entry.steps,
            spacing=entry.spacing,
            guidance_scale=entry.guidance_scale,
            classes=None if entry.classes is None else tuple(entry.classes),
            seed=entry.seed,
            samples=entry.samples,
            batch_size=entry.batch_size,
            clip_x0=entry.clip_x0,
            rho=entry.rho,
            sigma_min=entry.sigma_min,
            sigma_max=entry.sigma_max,
        )

    def model(self, device: torch.device) -> GenerativeModel:
        """The network that sampled.

        Raises:
            ConfigurationError: it is none of genuq's own.
        """
        entry = self.manifest.model
        require_own(entry.description, f"{self.folder / SET}")
        if NETWORK not in self.manifest.files:
            return built(self._memory, entry.description, 0).to(device)
        weights = FileContent(self.manifest.files[NETWORK].sha256, self.file(NETWORK))
        return ModelInputs(weights, entry.head, None, entry.description, device, self._memory).open()

    def posterior(self, model: GenerativeModel, name: str) -> Posterior:
        """The posterior whose draws have a name."""
        self.file(str(posterior_path(Path(POSTERIORS), name)))
        return load_posterior(self.folder / POSTERIORS, model, name)

    def weak(self, model: GenerativeModel) -> Mapping[str, Tensor] | None:
        """The weights of an earlier checkpoint of the network; None where the run named none."""
        return weak_weights(self.file(WEAK), model) if WEAK in self.manifest.files else None

    @property
    def drawn(self) -> DrawsInputs:
        """How draws are seen.

        Raises:
            ConfigurationError: by an encoder that genuq does not know.
        """
        space = self.manifest.space
        likelihood = LikelihoodInputs(_part(space.likelihood), self._extractor(), tuple(space.shape))
        return DrawsInputs(likelihood, space.observation_variance, space.include_unperturbed)

    def _extractor(self) -> ExtractorInputs | None:
        space = self.manifest.space
        if space.extractor is None:
            return None
        if space.extractor.name not in EXTRACTORS:  # not any name that timm knows: some are addresses
            raise ConfigurationError(
                f"{self.folder / SET} scores in the space of '{space.extractor.name}', which is no encoder that this "
                "genuq knows. Install the package that brings it, or score something else."
            )
        own = {key: value for key, value in space.extractor.options.items() if key != "checkpoint"}
        known = self.manifest.files.get(ENCODER)
        weights = None if known is None else FileContent(known.sha256, self.file(ENCODER))
        part = PartInputs(space.extractor.name, own, None)
        return ExtractorInputs(part, tuple(space.shape), weights, part.name, self._memory)

    def embeddings(self, name: str) -> Tensor:
        """In the likelihood's space: `image` (N, D), or a set of draws (N, M, D)."""
        return self.column(EMBEDDINGS, name)


def _part(entry: PartEntry) -> PartInputs:
    return PartInputs(entry.name, entry.options, None)
