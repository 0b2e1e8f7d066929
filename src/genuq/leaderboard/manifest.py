"""What a saved set says of itself: the one file of it that is read when it is opened, `set.json`.

It names no class and no file outside of the folder: whoever opens a set from elsewhere runs nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from genuq import entries, files
from genuq.errors import ArtefactError, ConfigurationError
from genuq.leaderboard.results import Condition
from genuq.models import MODELS
from genuq.models.description import is_plugged
from genuq.store.artefact import fingerprint

FORMAT = "genuq-saved-set-1"
SET = "set.json"
NEWER = ("rho", "sigma_min", "sigma_max")  # of samplers
SAMPLES, PATHS, EMBEDDINGS, POSTERIORS = "samples", "path", "embeddings", "posteriors"  # folders
TRUTH, SCORES, NETWORK, WEAK, ENCODER = (
    f"{name}.safetensors" for name in ("truth", "scores", "network", "weak", "encoder")
)
PRECISION = {
    "samples": "float32",
    "draws": "float16, deviations from the samples",
    "path": "as computed, float32",
    "network": "as trained, float16 of genuq's own networks",
}


@dataclass(frozen=True)
class FileEntry:
    """A file of the folder.

    Attributes:
        bytes: its size.
        sha256: of its content.
    """

    bytes: int
    sha256: str


@dataclass(frozen=True)
class PartEntry:
    """A part of genuq by its name.

    Attributes:
        name: in its register.
        options: its arguments.
    """

    name: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class ModelEntry:
    """The network that sampled.

    Attributes:
        description: for `genuq.models.build`.
        head: dotted name of the last weighted layer; None: the last Conv2d or Linear.
        training: what the checkpoint notes of its training; empty for a network that is not trained.
    """

    description: Mapping[str, Any]
    head: str | None
    training: Mapping[str, Any]


@dataclass(frozen=True)
class SamplerEntry:
    """How the samples were drawn, as `pipeline.inputs.SamplerInputs` has it.

    Attributes:
        solver: its options.
        steps, spacing, guidance_scale, seed, classes, clip_x0, rho, sigma_min, sigma_max: as in `genuq.Sampler`.
        samples: how many.
        batch_size: samples of one file.
    """

    solver: PartEntry
    steps: int
    spacing: str
    guidance_scale: float
    classes: Sequence[int] | None
    seed: int
    samples: int
    batch_size: int
    clip_x0: bool
    rho: float | None = None
    sigma_min: float | None = None
    sigma_max: float | None = None


@dataclass(frozen=True)
class SpaceEntry:
    """The space in which draws are scored.

    Attributes:
        likelihood: its own options, but for the variance.
        shape: of a sample.
        observation_variance: None takes it from the draws.
        include_unperturbed: whether the unperturbed sample counts as one of the draws.
        extractor: where the likelihood embeds by one; its weights are `encoder.safetensors` where it came from a file.
    """

    likelihood: PartEntry
    shape: Sequence[int]
    observation_variance: float | None
    include_unperturbed: bool
    extractor: PartEntry | None


@dataclass(frozen=True)
class DrawsEntry:
    """The draws of a posterior.

    Attributes:
        kind: of the posterior.
        draws: M.
        evaluations: of the network, of one sample, for all of its draws.
        seconds: of one sample; None where they were not measured.
    """

    kind: str
    draws: int
    evaluations: float
    seconds: float | None


@dataclass(frozen=True)
class ColumnEntry:
    """A score that was computed when the set was made.

    Attributes:
        label, kind, evaluations, seconds, needs_posterior: as in `ScoreColumn`.
        source: what it is made from, as in `ScorePart`.
    """

    label: str
    kind: str
    source: str
    evaluations: float
    seconds: float | None
    needs_posterior: bool


@dataclass(frozen=True)
class TruthWords:
    """What the places in `truth.safetensors` mean.

    Attributes:
        names, label_names: as in `genuq.data.Truth`.
        bad: faults that count as bad; none: all.
    """

    names: Sequence[str]
    label_names: Sequence[str]
    bad: Sequence[str]


@dataclass(frozen=True)
class Manifest:
    """The whole of `set.json`.

    Attributes:
        fingerprint: of all the rest; with the hashes of the files, of the set.
        format: of the folder.
        genuq: version that wrote it.
        condition: that the samples are of.
        made_from: fingerprints of the artefacts of the run, by stage.
        precision: of the numbers, in words.
        posteriors: by the names of their draws; `draws` is the run's own.
        columns: scores by name, the run's own first.
        neighbours: k of scores that ask for it.
        sampling_evaluations: of the network, of one sample.
        files: all of the folder, by their names in it.
    """

    fingerprint: str
    format: str
    genuq: str
    condition: Condition
    made_from: Mapping[str, str]
    precision: Mapping[str, str]
    model: ModelEntry
    sampler: SamplerEntry
    space: SpaceEntry
    posteriors: Mapping[str, DrawsEntry]
    truth: TruthWords
    columns: Mapping[str, ColumnEntry]
    neighbours: int
    sampling_evaluations: float
    files: Mapping[str, FileEntry]

    @property
    def ranges(self) -> list[range]:
        """The samples of each file of samples."""
        total, size = self.sampler.samples, self.sampler.batch_size
        return [range(start, min(start + size, total)) for start in range(0, total, size)]

    def sealed(self) -> Manifest:
        """The same with its fingerprint."""
        return replace(self, fingerprint=self._digest())

    def write(self, folder: Path) -> None:
        """Write `set.json`, which makes the folder a set."""
        files.write_json(folder / SET, files.plain(self))

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest of a set.

        Raises:
            ArtefactError: no set lies there, or one of another format; or its manifest was altered.
        """
        path = folder / SET
        if not path.is_file():
            raise ArtefactError(
                f"{folder} is no saved set: it has no {SET}. Give the folder of one, or write it again."
            )
        plain = files.read_json(path)
        found = plain.get("format") if isinstance(plain, dict) else None
        if found != FORMAT:
            raise ArtefactError(f"{path} has format '{found}', not '{FORMAT}'. Write the set again with this genuq.")
        manifest = entries.read(path, cls)
        if manifest.fingerprint != manifest._digest() or not all(map(_is_inside, manifest.files)):
            raise ArtefactError(f"{path} was altered. {remedy(folder)}")
        return manifest

    def _digest(self) -> str:
        plain = {key: value for key, value in files.plain(self).items() if key != "fingerprint"}
        # sets that were saved before samplers had these are what they were
        plain["sampler"] = {k: v for k, v in plain["sampler"].items() if k not in NEWER or v is not None}
        return fingerprint(plain)


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def remedy(folder: Path) -> str:
    """What to do about a set that is broken."""
    return f"Copy {folder} again from where it came, or delete it and write it again from its run."


def require_own(description: Mapping[str, object], where: str) -> None:
    """Raise ConfigurationError for a model that a set from elsewhere may not have built.

    Args:
        description: for `genuq.models.build`.
        where: it stands.
    """
    autoencoder = description.get("autoencoder")
    fetched = isinstance(autoencoder, Mapping) and autoencoder.get("name") != "vae"
    part = str(description.get("part"))
    if fetched or (is_plugged(description) and not (part in MODELS and MODELS[part].builtin)):
        raise ConfigurationError(
            f"{where}: the model is not genuq's own, or its autoencoder is a folder elsewhere, so that no saved set "
            "can carry it. Scores of images, draws and classes need none."
        )
