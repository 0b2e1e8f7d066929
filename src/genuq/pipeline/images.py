"""Scores of images that lie in a folder: a batch is an artefact of the store, an image is found again by its pixels.

What an image's scores depend on is the model, the posterior's draws, the scores with their options, the seed, its
pixels and its class: not its name, its folder or what else is there. So a killed call goes on where it stopped, and of
a folder that grew only the new images are scored.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from torch import Tensor

from genuq import files, posteriors
from genuq.data.loose_images import LooseImages
from genuq.display import Display
from genuq.errors import ArtefactError, ConfigurationError, DataError, require_finite
from genuq.identity import identity_of, where_given
from genuq.models import Engine, GenerativeModel
from genuq.pipeline import preflight
from genuq.pipeline.columns import SPENT, WATCHED, knows_classes
from genuq.pipeline.configured import architecture_of, engine_of, model_inputs, training_set
from genuq.pipeline.execute import STAGES
from genuq.pipeline.inputs import ModelInputs, PartInputs
from genuq.pipeline.posteriors import FITTED, evaluated
from genuq.pipeline.run import MAIN_POSTERIOR, Run, hardware_of
from genuq.pipeline.shared_scores import ResourceInputs, functions_of, probe_inputs, resource_inputs
from genuq.pipeline.stage import artefact_of
from genuq.pipeline.stages.fit import FittedPosterior, SizedInputs, make_posterior, posterior_of
from genuq.pipeline.stages.probe import ALL, columns_of
from genuq.posteriors import Posterior
from genuq.posteriors.dataless import MAP
from genuq.scores import SCORES, ImageScores, Probe, Resources, score_together
from genuq.scores.finished_images import SOURCE, content_digests, default_scores, noise_key
from genuq.store.artefact import MANIFEST, StageFolder
from genuq.store.once import make_once
from genuq.store.upstream import upstream_of

STAGE, VERSION = "images", 1  # folder in the store; raised whenever scores of the same image change
SCORED = "scores.safetensors"


class Key(NamedTuple):
    """By what an image's scores are found: the digest of its pixels, and its class where the model knows any."""

    digest: str
    label: int | None


@dataclass(frozen=True)
class ImagesInputs:
    """What the scores of an image depend on beside the image.

    Attributes:
        posterior: the run's main one; None where no score asks for weight draws.
        scores: of finished images, by name.
        resources: that they ask for.
        seed: of noise and weight draws.
        engine: how the network is evaluated.
    """

    model: ModelInputs
    posterior: FittedPosterior | None
    scores: Mapping[str, PartInputs]
    resources: ResourceInputs
    seed: int
    engine: Engine = where_given(default_factory=Engine)


@dataclass(frozen=True)
class BatchInputs:
    """What the scores of a batch of images depend on.

    Attributes:
        images: digests of their pixels.
        classes: one for each; None: the model knows none.
    """

    scoring: ImagesInputs
    images: tuple[str, ...]
    classes: tuple[int, ...] | None


# The configuration, as of a run that scores no samples of its own


def choose_scores(run: Run) -> list[str]:
    """Leave the run those of its scores that finished images can have, and return what was left out.

    Where it has none of them, those that nobody needs to name (`default_scores`).
    """
    score = run.config.score
    partial = [f"score.{key}" for key in ("budget", "stop", "frontier") if score.get(key) not in (None, False)]
    asked = list(dict.fromkeys([score.name, *score.also, *score.controls]))
    chosen = [name for name in asked if SCORES.get(name, "score.name").source == SOURCE]
    named = bool(chosen)
    chosen = chosen or default_scores(architecture_of(run), run.config.posterior.name != MAP.kind)
    score.name, score.also, score.controls, score.maps = chosen[0], chosen[1:], [], False
    score.budget, score.stop, score.frontier = None, None, False  # there are no samples that a pilot could stand for
    read = {"fit", "probe", *(["train"] if run.trains else [])}
    run.config.stages = [stage for stage in STAGES if stage in read]
    run.config.propagator = run.config.application = None
    return [name for name in asked if named and name not in chosen] + partial


def check(run: Run) -> None:
    """Raise GenuqError for whatever can be known to be wrong of model, posterior and scores."""
    preflight.check_settings(run)
    inputs = images_inputs(run)
    for one in upstream_of(inputs):
        if not one.folder.is_current():
            raise ArtefactError(
                f"the stage '{one.stage}' of this configuration is not finished: the model is not there yet. Run "
                "genuq with the same options first, or give model.checkpoint=FILE."
            )
        one.folder.verify()
    if inputs.posterior is not None and not inputs.posterior.folder.is_current():
        check_fit(run)


def check_fit(run: Run) -> None:
    """Raise GenuqError where the posterior, which is not there yet, cannot be fitted here."""
    if hardware_of(run).several:
        raise ConfigurationError(
            "trainer asks for several processes, but images are scored in one, and the posterior was not fitted yet. "
            "Fit it first: genuq stages=[fit] with the same options; or give trainer=cpu."
        )
    training_set(run).verify()


def images_inputs(run: Run) -> ImagesInputs:
    """What the scores of any image depend on in this run."""
    resources = resource_inputs(run, SOURCE)
    posterior = posterior_of(run, MAIN_POSTERIOR) if resources.draws else None
    return ImagesInputs(model_inputs(run), posterior, probe_inputs(run), resources, run.config.seed, engine_of(run))


def class_names(run: Run) -> list[str]:
    """Of the classes, or the prompts, that the model knows; none where it knows none."""
    if not knows_classes(run):
        return []
    conditions = architecture_of(run).conditions
    prompts = [] if conditions is None else conditions.prompts
    return list(prompts or training_set(run).class_names)


# The work


def score_folder(run: Run, dataset: LooseImages, display: Display) -> ImageScores:
    """Scores of all images of a folder, row n of its file n; those that the store has are not computed again.

    Args:
        run: whose scores were chosen (`choose_scores`) and checked.

    Raises:
        DataError: images that cannot be used, by their names, before anything is fitted or scored.
        GenuqError: an artefact that is broken, or a score that is not finite.
    """
    inputs, keys = images_inputs(run), keys_of(run, dataset, display)
    found = stored(run.store, inputs)
    missing = {key: row for row, key in reversed(list(enumerate(keys))) if key not in found}
    missing = dict(reversed(missing.items()))  # in the order of the files, the first of equal ones
    display.say(f"{len(keys):,} images: {len(set(keys) - missing.keys()):,} scored before, {len(missing):,} to score")
    if missing:
        found |= score_missing(run, inputs, dataset, missing, display)
    return gathered(list(inputs.scores), [found[key] for key in keys], dataset)


def keys_of(run: Run, dataset: LooseImages, display: Display) -> list[Key]:
    """The key of every image, for which every file is read."""
    with display.bar("reading", len(dataset)) as advance:
        digests = dataset.digests(advance)
    labels: Sequence[int | None] = dataset.labels.tolist() if knows_classes(run) else [None] * len(dataset)
    return [Key(*pair) for pair in zip(digests, labels)]


def score_missing(
    run: Run, inputs: ImagesInputs, dataset: LooseImages, missing: Mapping[Key, int], display: Display
) -> dict[Key, dict[str, float]]:
    """Score images, a batch of `sampler.batch_size` at a time, each of which is kept when it is done.

    Args:
        missing: rows of the data set by their keys.
    """
    if inputs.posterior is not None:
        fit(inputs.posterior, display)
    trained = inputs.model.open()
    resources = inputs.resources.open(trained, lambda: load(inputs, trained), inputs.seed)
    model = evaluated(inputs.engine, trained, resources.posteriors.values())
    size, pairs = run.config.sampler.batch_size, list(missing.items())
    found: dict[Key, dict[str, float]] = {}
    with display.bar("scoring", len(pairs)) as advance:
        for start in range(0, len(pairs), size):
            batch = dict(pairs[start : start + size])
            folder = artefact_of(run, STAGE, VERSION, batch_inputs(inputs, list(batch)))
            with make_once(folder, STAGE, Display(Console(quiet=True))) as making:
                if making.here:
                    tensors = score_batch(inputs, model, resources, dataset, batch)
                    files.write_tensors(folder.path / SCORED, tensors, {"fingerprint": folder.fingerprint})
            found |= rows_of(folder)
            advance(len(batch))
    return found


def fit(posterior: FittedPosterior, display: Display) -> None:
    """Fit the posterior, and before it the one whose size it takes, where they were not fitted before."""
    if isinstance(posterior.inputs, SizedInputs):
        make_posterior(posterior.inputs.other, posterior.inputs.source, display)
    make_posterior(posterior, MAIN_POSTERIOR, display)


def load(inputs: ImagesInputs, model: GenerativeModel) -> Posterior:
    """The fitted posterior."""
    assert inputs.posterior is not None
    return posteriors.load(inputs.posterior.folder.path / FITTED, model)


def batch_inputs(inputs: ImagesInputs, keys: Sequence[Key]) -> BatchInputs:
    """What the scores of these images depend on."""
    classes = [key.label for key in keys if key.label is not None]
    return BatchInputs(inputs, tuple(key.digest for key in keys), tuple(classes) if classes else None)


def score_batch(
    inputs: ImagesInputs,
    model: GenerativeModel,
    resources: Resources,
    dataset: LooseImages,
    batch: Mapping[Key, int],
) -> dict[str, Tensor]:
    """Scores of a batch as columns, with what they cost.

    Raises:
        DataError: a file was changed since it was read first.
        NonFiniteError: a score is NaN or infinite.
    """
    digests = [key.digest for key in batch]
    items, labels = dataset.batch(list(batch.values()))
    if content_digests(items) != digests:
        raise DataError(f"images in {dataset.root} are being changed. Run the same command again when they are not.")
    classes = labels if model.num_classes else None
    probe = Probe(model, items, [noise_key(digest) for digest in digests], inputs.seed, classes, resources)
    found = score_together(probe, functions_of(inputs.scores))
    first = dataset.names[next(iter(batch.values()))]
    for name, values in found.values.items():
        require_finite(values, f"score '{name}' of {first} and the images after it", "Take them away, or the score.")
    return columns_of(found, len(batch))


# What the store has


def stored(store: Path, inputs: ImagesInputs) -> dict[Key, dict[str, float]]:
    """The scores that were made from the same inputs, whatever folder their images lay in.

    Raises:
        ArtefactError: such an artefact is broken.
    """
    wanted, found = identity_of(inputs), dict[Key, dict[str, float]]()
    for folder in finished(store):
        settings = folder.identity.get("settings", {})
        if folder.identity.get("version") == VERSION and settings.get("scoring") == wanted:
            folder.verify(thoroughly=False)
            found |= rows_of(folder)
    return found


def finished(store: Path) -> Iterator[StageFolder]:
    """All batches that were finished; one whose manifest is broken is met again where it is to be made."""
    for path in sorted((store / STAGE).glob(f"*/{MANIFEST}")):
        with contextlib.suppress(ArtefactError, KeyError, TypeError, AttributeError):
            identity = dict(files.read_json(path)["made_from"])
            folder = StageFolder(path.parent, identity)
            if folder.is_current():
                yield folder


def rows_of(folder: StageFolder) -> dict[Key, dict[str, float]]:
    """The columns of a finished batch, by image."""
    columns, settings = files.read_tensors(folder.path / SCORED)[0], identity_of(folder.identity["settings"])
    labels: Sequence[Any] = settings["classes"] or [None] * len(settings["images"])
    keys = [Key(*pair) for pair in zip(settings["images"], labels)]
    values = {name: column.tolist() for name, column in columns.items()}
    return {key: {name: column[row] for name, column in values.items()} for row, key in enumerate(keys)}


def gathered(names: Sequence[str], rows: Sequence[Mapping[str, float]], dataset: LooseImages) -> ImageScores:
    """One row for each image."""
    assert len(rows) == len(dataset)
    scores = {name: torch.tensor([row[f"{WATCHED}{name}"] for row in rows], dtype=torch.float64) for name in names}
    costs = {name: sum(row[f"{SPENT}{name}"] for row in rows) / len(rows) for name in names}
    return ImageScores(scores, costs, sum(row[f"{SPENT}{ALL}"] for row in rows) / len(rows))
