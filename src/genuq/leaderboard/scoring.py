"""Scores of a saved set: any score of images, draws, the path or a probe, computed without sampling again.

A score is computed once for a set: its column is kept in the set's folder `scored`, under the hash of the set, of the
score with its options, and of the code of a score that is not genuq's own.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from genuq.config.plugged import is_path
from genuq.display import Display
from genuq.errors import ConfigurationError, StorageError
from genuq.identity import identity_of
from genuq.leaderboard.manifest import PATHS, SAMPLES, WEAK
from genuq.leaderboard.results import ScoreColumn
from genuq.leaderboard.saved import SavedSet
from genuq.leaderboard.writing import needs_posterior
from genuq.models import GenerativeModel
from genuq.pipeline.inputs import part_inputs
from genuq.pipeline.run import MAIN_POSTERIOR
from genuq.pipeline.sharded import deal
from genuq.pipeline.shared_scores import check_options, embedder
from genuq.pipeline.stages.sample import shown
from genuq.posteriors import Posterior, isotropic_like
from genuq.scores import SCORES, Probe, Resources, ScorePart, score_together
from genuq.scores.probe_scores import ISOTROPIC
from genuq.scores.shared import PathRecorder, Predictions
from genuq.store.artefact import StageFolder
from genuq.store.once import make_once
from genuq.store.shards import Shards

SCORED, STAGE = "scored", "column"  # folder in a set; what its artefacts are called
VERSION = 1  # raised whenever a column changes for the same set, score and options
AT_A_TIME = ("path", "probe")  # sources of which each batch stands for itself; of others a score sees all samples
REFUSED = {
    "propagation": "is of variances of the pixels, for which the run has to be propagated",
    "trajectory": "watches the sampler, for which the samples have to be drawn again",
    "weights": "makes weight draws of its own, with which the samples have to be drawn again",
    "initial_noise": "starts the sampler anew, for which the samples have to be drawn again",
    "noised_image": "makes draws of its own, which no saved set has",
    "real": "sees the real images, which no saved set has",
}


def score_part(name: str, key: str = "--score") -> ScorePart:
    """A score by its name, or by the class path of a function of one's own, MODULE:FUNCTION.

    A function whose first argument is declared to be a `Probe` or a `SamplerPath`, or is called `images`, is of that;
    any other gets the embeddings of the draws and the variance of their observations.

    Args:
        key: where it was asked for, for errors.

    Raises:
        ConfigurationError: there is none, with the nearest name; or it cannot be imported, or may not be.
    """
    return SCORES.plugged(name, key) if is_path(name) or ":" in name else SCORES.get(name, key)


def score_saved(
    saved: SavedSet,
    part: ScorePart,
    options: Mapping[str, Any] | None = None,
    *,
    display: Display | None = None,
    device: torch.device | None = None,
    cache: Path | None = None,
) -> ScoreColumn:
    """One score of all samples of a set; computed now unless it was before.

    Scores of the path and the probe are computed a file of samples at a time, and a killed scoring goes on with the
    rest; those of images, draws and classes see all samples at once. What a score of the path or the probe asks for
    (the posterior, the encoder) it gets, whether it declares that or not.

    Args:
        part: the score; see `score_part`.
        options: of the score, by its own names for them; what is not here keeps its default.
        display: shows the progress; None: nothing is shown.
        device: of the network; None: the CPU.
        cache: where columns are kept; None: in the set's folder.

    Raises:
        ConfigurationError: a score that cannot be had from a saved set, or from this one; or options that cannot be.
        ArtefactError: a broken file of the set, or of a column.
        StorageError: the disk is full.
    """
    chosen, display = dict(options or {}), display or Display(Console(quiet=True))
    check_score(saved, part, chosen)
    inputs = part_inputs(part, chosen)
    identity = {"stage": STAGE, "version": VERSION, "set": saved.fingerprint, "settings": identity_of(inputs)}
    folder = StageFolder.in_store(writable(cache or saved.folder / SCORED), identity)
    with make_once(folder, f"{part.name} of {saved.condition.folder}", display) as making:
        if making.here:
            work = Work(saved, part, chosen, device or torch.device("cpu"))
            size = saved.manifest.sampler.batch_size if part.source in AT_A_TIME else len(saved)
            making.notes = {"score": part.name}
            deal(replace(saved.sampler, batch_size=size), folder, work.batch, display, part.name)
    return column_in(folder.path, part)


def writable(folder: Path) -> Path:
    """The folder itself, made now if it is not there; StorageError where it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise StorageError(
            f"{folder}, where columns are kept, cannot be written ({error.strerror}). Give another folder, "
            "cache=FOLDER, or copy the set to where you may write."
        ) from error
    return folder


def column_in(folder: Path, part: ScorePart) -> ScoreColumn:
    """The finished column of a score."""
    stored = {name: Shards(folder).read(name) for name in ("values", "evaluations", "seconds", "drawn")}
    return ScoreColumn(
        values=stored["values"].numpy(),
        label=part.label,
        kind=part.kind,
        evaluations=float(stored["evaluations"].mean()),
        seconds=float(stored["seconds"].mean()),
        needs_posterior=needs_posterior(part) or bool(stored["drawn"].any()),
    )


def check_score(saved: SavedSet, part: ScorePart, options: Mapping[str, Any]) -> None:
    """Raise ConfigurationError for a score that cannot be computed from this set, or options that it cannot have."""
    part.check_options(options)
    check_options(part, options, draws_of(saved))
    if (reason := why_not(saved, part)) is not None:
        raise ConfigurationError(f"score '{part.name}' {reason}.")


def why_not(saved: SavedSet, part: ScorePart) -> str | None:
    """Why a score cannot be computed from this set; None if it can."""
    if part.source in REFUSED:
        return f"{REFUSED[part.source]}: name it in the run (score.also=[{part.name}]) and save its set again"
    if part.source == "draws" and not saved.manifest.posteriors[MAIN_POSTERIOR].evaluations:
        return (
            "is of samples that draws make anew, which this set lacks: name a score of draws in the run "
            "(score.also=[entropy]) and save its set again"
        )
    if part.needs_images and not saved.are_images:
        return "needs images, and this set has points"
    if part.source == "path" and not saved.has_path:
        return "is of the path, which this set lacks: sample with sampler.keep_path=true and save the set again"
    if (part.source == "class" or "classes" in part.needs) and saved.classes is None:
        return "needs a model that knows classes, and that of this set knows none"
    if "weak" in part.needs and WEAK not in saved.manifest.files:
        return "needs an earlier checkpoint: set score.weak_checkpoint in the run and save its set again"
    return None


def draws_of(saved: SavedSet) -> int:
    """M of the run's own posterior."""
    return saved.manifest.posteriors[MAIN_POSTERIOR].draws


class Drawn(Mapping[str, Posterior]):
    """The posteriors that a score may ask for, each opened when it is; and whether it did.

    Attributes:
        asked: whether any was asked for.
    """

    def __init__(self, saved: SavedSet, model: GenerativeModel) -> None:
        self.saved, self.model, self.asked = saved, model, False
        self._opened: dict[str, Posterior] = {}

    def __getitem__(self, name: str) -> Posterior:
        self.asked = True
        return self.open(name)

    def open(self, name: str) -> Posterior:
        """The posterior of this name, without a note that it was asked for."""
        if name not in (MAIN_POSTERIOR, ISOTROPIC):
            raise KeyError(name)
        if name not in self._opened:
            main = self.saved.posterior(self.model, MAIN_POSTERIOR) if name == MAIN_POSTERIOR else None
            self._opened[name] = main or isotropic_like(self.open(MAIN_POSTERIOR), self.model.network)
        return self._opened[name]

    def __contains__(self, name: object) -> bool:
        return name in (MAIN_POSTERIOR, ISOTROPIC)

    def __iter__(self) -> Iterator[str]:
        return iter((MAIN_POSTERIOR, ISOTROPIC))

    def __len__(self) -> int:
        return 2


@dataclass
class Work:
    """A score of a set on its way, some samples at a time.

    Attributes:
        options: of the score.
        device: of the network.
    """

    saved: SavedSet
    part: ScorePart
    options: Mapping[str, Any]
    device: torch.device

    def __post_init__(self) -> None:
        if self.part.source in AT_A_TIME:
            self.model = self.saved.model(self.device)
            self.drawn = Drawn(self.saved, self.model)
            self.resources = self._resources()

    def _resources(self) -> Resources:
        """All that a score may ask for; what it declares is opened now, so that no score is charged for that."""
        needs = self.part.needs
        space: list[Callable[[Tensor], Tensor]] = []  # opened when it is first asked for
        for need, name in (("members", MAIN_POSTERIOR), ("isotropic", ISOTROPIC)):
            if need in needs:
                self.drawn.open(name)

        def embed(samples: Tensor) -> Tensor:
            if not space:
                space.append(embedder(self.saved.drawn.likelihood, self.model))
            return space[0](samples)

        return Resources(
            posteriors=self.drawn,
            draws=draws_of(self.saved),
            seed=self.saved.manifest.sampler.seed,
            weak=self.saved.weak(self.model),
            embed=embed,
        )

    def batch(self, indices: list[int], advance: Callable[[int], None]) -> dict[str, Tensor]:
        """The score of some samples and what each of them cost."""
        made = self._shared if self.part.source in AT_A_TIME else self._whole
        values, evaluations, seconds, drawn = made(indices)
        advance(len(indices))
        of_each = {"evaluations": evaluations, "seconds": seconds}
        return {
            "index": torch.tensor(indices),
            "values": values,
            **{name: torch.full((len(indices),), number, dtype=torch.float64) for name, number in of_each.items()},
            "drawn": torch.full((len(indices),), drawn),
        }

    # Of the path or a probe

    def _shared(self, indices: list[int]) -> tuple[Tensor, float, float, bool]:
        predictions = self._predictions(range(indices[0], indices[-1] + 1))
        score = partial(self.part.values, len(indices), **self.options)
        found = score_together(predictions, {self.part.name: score})
        cost = found.costs[self.part.name] / len(indices)
        return found.values[self.part.name], cost.evaluations, cost.seconds, self.drawn.asked

    def _predictions(self, rows: range) -> Predictions:
        saved, indices = self.saved, list(rows)
        if self.part.source == "path":
            recorded = saved.shard(PATHS, rows)
            recorder = PathRecorder.kept(self.model, saved.sampler.build(self.model), indices, recorded)
            return recorder.path(self.resources)
        samples = saved.shard(SAMPLES, rows)
        classes = samples["class"] if self.model.num_classes else None
        return Probe(self.model, samples["image"], indices, saved.manifest.sampler.seed, classes, self.resources)

    # Of all samples

    def _whole(self, indices: list[int]) -> tuple[Tensor, float, float, bool]:
        given, named = self._given()
        started = time.perf_counter()
        values = self.part.values(len(indices), *given, **self.options, **named)
        seconds, spent = (time.perf_counter() - started) / len(indices), 0.0
        if self.part.source == "draws":
            draws = self.saved.manifest.posteriors[MAIN_POSTERIOR]
            seconds, spent = seconds + (draws.seconds or 0.0), draws.evaluations
        return values, spent, seconds, self.part.source == "draws"

    def _given(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What the score is called with, by position and by name; as of a run."""
        saved, indices = self.saved, self.saved.column(SAMPLES, "index").tolist()
        given: dict[str, Callable[[], tuple[tuple[Any, ...], dict[str, Any]]]] = {
            "draws": lambda: (self._draws(), {}),
            "class": lambda: ((self._first(), saved.classes), {}),
            "image": lambda: ((shown(saved.column(SAMPLES, "image"), saved.are_images),), {}),
            "nothing": lambda: ((), {"indices": indices, "seed": saved.manifest.sampler.seed}),
        }
        return given[self.part.source]()

    def _draws(self) -> tuple[Tensor, Any]:
        """The draws (N, M, D), the unperturbed sample before them where it counts, and the observation variance."""
        drawn = self.saved.drawn
        embeddings = {name: self.saved.embeddings(name) for name in ("image", MAIN_POSTERIOR)}
        draws_NMD = drawn.of(embeddings, MAIN_POSTERIOR)
        return draws_NMD, drawn.open().observation_variance(draws_NMD).value

    def _first(self) -> Tensor:
        """The run's own score; where that is of the classes itself, the next one."""
        columns = self.saved.manifest.columns.items()
        return self.saved.scores[next(name for name, column in columns if column.source != "class")]
