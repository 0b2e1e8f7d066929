"""Making a saved set of a finished run: what its stages have left is linked into one folder, and the truth is added."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from yaml import YAMLError

import genuq
from genuq import files
from genuq.analysis.evaluation_entries import read_evaluation
from genuq.config.plugged import plug
from genuq.data import Truth
from genuq.data.truth import JUDGED_BAD, VALID
from genuq.errors import ArtefactError, ConfigurationError
from genuq.leaderboard.manifest import (
    EMBEDDINGS,
    ENCODER,
    FORMAT,
    NETWORK,
    PATHS,
    POSTERIORS,
    PRECISION,
    SAMPLES,
    SCORES,
    SET,
    TRUTH,
    WEAK,
    ColumnEntry,
    DrawsEntry,
    FileEntry,
    Manifest,
    ModelEntry,
    PartEntry,
    SamplerEntry,
    SpaceEntry,
    TruthWords,
    require_own,
)
from genuq.leaderboard.results import Condition
from genuq.models.precision import FULL
from genuq.pipeline.columns import SPENT, cost, entry_of
from genuq.pipeline.configured import model_inputs, sampler_inputs, test_set
from genuq.pipeline.configured_judging import likelihood_inputs
from genuq.pipeline.execute import opened
from genuq.pipeline.inputs import PartInputs
from genuq.pipeline.posteriors import posterior_path
from genuq.pipeline.run import Run
from genuq.pipeline.shared_scores import weak_checkpoint
from genuq.pipeline.stage import STAGES
from genuq.pipeline.stages.evaluate_inputs import Column, cost_of
from genuq.pipeline.stages.probe import read_probed
from genuq.pipeline.stages.sample import PATHS as KEPT
from genuq.pipeline.stages.sample import shown
from genuq.pipeline.stages.score import SCORES_FILE
from genuq.scores import ScorePart, png_bytes
from genuq.store.disk import reporting_full_disk
from genuq.store.shards import Shards, shard_name

MADE = ("fit", "sample", "embed", "score", "evaluate")  # stages that a set is made of, and the probe where there is one
BAD = "bad"  # the column of the samples in which a judge's verdicts stand
UNFINISHED = "unfinished.json"  # what a set that is being written is made from

Sources = dict[str, tuple[Path, str]]  # by name in the set: the file to link, and its sha256


def write_set(run_folder: str | Path, out: str | Path, condition: Condition | None = None) -> Manifest:
    """Save the set of a finished run in a folder: hard links where the disk allows them, else copies.

    The folder is a set when `set.json` is there, which is written last. A killed writing goes on where it stopped; a
    set that is there already is left as it is.

    Args:
        run_folder: of the run, which was sampled, scored and evaluated; an oracle or a judge knows its bad samples.
        out: folder of the set.
        condition: that it is of; None: the names of data and sampler, and the seed that the network was trained with.

    Raises:
        ConfigurationError: no run's folder, no sample that is known to be bad, or a model not genuq's own.
        ArtefactError: the run is not finished, or is broken; or something else lies in `out`.
        StorageError: the disk is full.
    """
    run, out = finished_run(Path(run_folder)), Path(out).expanduser().absolute()
    model = model_entry(run)
    require_own(model.description, f"the run in {run.folder}")
    require_truth(run)
    require_single_precision(run)
    condition = condition or condition_of(run, model)
    made_from = {name: run.artefacts[name].fingerprint for name in stages_of(run)}
    if (out / SET).is_file():
        return there_already(out, made_from, condition)
    with reporting_full_disk(out):
        begin(out, made_from)
        linked = link_all(out, sources_of(run))
        truth = truth_of(run)
        files.write_tensors(out / TRUTH, truth_tensors(run, truth))
        Manifest(
            fingerprint="",
            format=FORMAT,
            genuq=genuq.__version__,
            condition=condition,
            made_from=made_from,
            precision=PRECISION,
            model=model,
            sampler=sampler_entry(run),
            space=space_entry(run),
            posteriors=draws_entries(run),
            truth=TruthWords(truth.names, truth.label_names, tuple(run.config.metric.bad)),
            columns=column_entries(run),
            neighbours=run.config.metric.k,
            sampling_evaluations=float(run.artefacts["sample"].notes()["evaluations_per_sample"]),
            files=linked | {TRUTH: file_entry(out / TRUTH)},
        ).sealed().write(out)
    (out / UNFINISHED).unlink()
    return Manifest.read(out)


# The run


def finished_run(folder: Path) -> Run:
    """The run in a folder, whose artefacts are there and whole.

    Raises:
        ConfigurationError: it is no run's folder.
        ArtefactError: a stage is missing, or was made under another configuration.
    """
    folder = folder.expanduser().absolute()
    if not (folder / "config.yaml").is_file() or not (folder / "evaluate").exists():
        raise ConfigurationError(
            f"{folder} is no folder of a run that was evaluated. Give the folder of one (it has config.yaml and "
            "evaluate), or run it: stages=[fit,sample,probe,embed,score,evaluate]."
        )
    run = opened(configuration_of(folder), folder)
    for name in stages_of(run):
        if not run.artefacts[name].is_current():
            raise ArtefactError(
                f"stage '{name}' of {folder} was made under another configuration or another version of genuq, or is "
                "unfinished. Run the same command again, then save the set."
            )
        run.artefacts[name].verify(thoroughly=False)
    return run


def configuration_of(folder: Path) -> DictConfig:
    """As the run had it, but for its place: its store is where its links lead, and nothing is computed on a GPU."""
    try:
        config = OmegaConf.load(folder / "config.yaml")
    except YAMLError as error:
        raise ConfigurationError(f"{folder / 'config.yaml'} is no YAML: {error}. Run the run again.") from error
    assert isinstance(config, DictConfig)
    config.store, config.device = str((folder / "evaluate").resolve().parents[1]), "cpu"
    plug(config.get("parts", {}))
    return config


def stages_of(run: Run) -> list[str]:
    """Those that the set is made of."""
    return [*MADE, *(["probe"] if "probe" in run.artefacts else [])]


def require_truth(run: Run) -> None:
    """Raise ConfigurationError where nobody says which samples are bad."""
    if test_set(run).oracle is None and BAD not in read_evaluation(run.path("evaluate")).samples.columns:
        raise ConfigurationError(
            f"data.name = '{run.config.data.name}' has no oracle, and metric.extractor = "
            f"'{run.config.metric.extractor}' does not judge single samples, so that none is known to be bad. Save "
            "sets of data that are drawn by rules (data=glyphs, shapes, triangles, mixture_d2, ...), or of a model "
            "that knows classes under metric=classifier."
        )


def require_single_precision(run: Run) -> None:
    """Raise ConfigurationError for samples of half precision: scores of a set ask its network in float32."""
    if run.config.sampler.precision != FULL:
        raise ConfigurationError(
            f"sampler.precision = '{run.config.sampler.precision}': sets are saved of float32 alone, in which their "
            f"network is asked again. Run it with sampler.precision={FULL}."
        )


def condition_of(run: Run, model: ModelEntry) -> Condition:
    """The names of data and sampler, and the seed that the network was trained with."""
    trained = files.looked_up(model.training, "configuration.seed", run.config.seed)
    return Condition(run.config.data.name, run.config.sampler.name, int(trained))


# The folder


def there_already(out: Path, made_from: Mapping[str, str], condition: Condition) -> Manifest:
    """The manifest of a set that was written before, if it is this one."""
    found = Manifest.read(out)
    if (found.made_from, found.condition) != (made_from, condition):
        raise ArtefactError(
            f"{out} holds the set of another run ({found.condition.folder}). Give another folder, or delete it."
        )
    return found


def begin(out: Path, made_from: Mapping[str, str]) -> None:
    """Make the folder, or go on in one where the same set was being written."""
    path = out / UNFINISHED
    if path.is_file():
        if files.read_json(path) != dict(made_from):
            raise ArtefactError(f"{out} holds the unfinished set of another run. Give another folder, or delete it.")
    elif out.is_dir() and any(out.iterdir()):
        raise ArtefactError(f"{out} is not empty, and no saved set. Give another folder.")
    else:
        files.write_json(path, dict(made_from))


def sources_of(run: Run) -> Sources:
    """All files that the set takes from the run as they are."""
    sample, embed, fit, score = (artefact_files(run, name) for name in ("sample", "embed", "fit", "score"))
    rows = shard_names(run)
    found = {f"{SAMPLES}/{name}": sample[name] for name in rows}
    found |= {f"{EMBEDDINGS}/{name}": embed[name] for name in rows}
    if run.config.sampler.keep_path:
        found |= {f"{PATHS}/{name}": sample[f"{KEPT}/{name}"] for name in rows}
    for name in run.posteriors():
        found[str(posterior_path(Path(POSTERIORS), name))] = fit[posterior_path(Path(), name).name]
    found[SCORES] = score[SCORES_FILE]
    extractor = likelihood_inputs(run).extractor
    encoder = None if extractor is None or extractor.checkpoint is None else extractor.checkpoint.path
    for name, path in {NETWORK: model_inputs(run).path, WEAK: weak_checkpoint(run), ENCODER: encoder}.items():
        if path is not None:
            found[name] = path, run.sha256(path)
    return found


def artefact_files(run: Run, stage: str) -> Sources:
    """The files of an artefact, by their names in it."""
    folder = run.artefacts[stage]
    return {name: (folder.path / name, digest) for name, digest in folder.manifest()["files"].items()}


def shard_names(run: Run) -> list[str]:
    """Of the files of samples."""
    total, size = run.config.sampler.samples, run.config.sampler.batch_size
    return [shard_name(start, min(start + size, total)) for start in range(0, total, size)]


def link_all(out: Path, sources: Sources) -> dict[str, FileEntry]:
    """Have all of these files in the set; those that a killed writing has left are kept."""
    for name, (source, _) in sources.items():
        if not (out / name).is_file():
            link(source.resolve(), out / name)
    return {name: FileEntry((out / name).stat().st_size, digest) for name, (_, digest) in sources.items()}


def link(source: Path, target: Path) -> None:
    """Make a hard link, or a copy where the disk has none; it appears whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}{files.PARTIAL}")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:
        with files.replacing(target) as copy:
            shutil.copyfile(source, copy)
    else:
        os.replace(temporary, target)


def file_entry(path: Path) -> FileEntry:
    return FileEntry(path.stat().st_size, files.sha256(path))


# What it says


def model_entry(run: Run) -> ModelEntry:
    """The network, and what its checkpoint says of its training."""
    inputs, training = model_inputs(run), {}
    if inputs.path is not None:
        with files.opened(inputs.path) as file:
            training = json.loads((file.metadata() or {}).get("notes", "{}"))
    return ModelEntry(files.plain(inputs.description), inputs.head, training)


def sampler_entry(run: Run) -> SamplerEntry:
    inputs = sampler_inputs(run)
    return SamplerEntry(
        solver=part_entry(inputs.solver),
        steps=inputs.steps,
        spacing=inputs.spacing,
        guidance_scale=float(inputs.guidance_scale),
        classes=inputs.classes,
        seed=inputs.seed,
        samples=inputs.samples,
        batch_size=inputs.batch_size,
        clip_x0=inputs.clip_x0,
        rho=inputs.rho,
        sigma_min=inputs.sigma_min,
        sigma_max=inputs.sigma_max,
    )


def space_entry(run: Run) -> SpaceEntry:
    inputs, settings = likelihood_inputs(run), run.config.likelihood
    extractor = inputs.extractor
    return SpaceEntry(
        likelihood=part_entry(inputs.part),
        shape=inputs.shape,
        observation_variance=settings.get("observation_variance"),
        include_unperturbed=settings.include_unperturbed,
        extractor=None if extractor is None else PartEntry(extractor.name, files.plain(extractor.part.options)),
    )


def part_entry(part: PartInputs) -> PartEntry:
    return PartEntry(part.name, files.plain(part.options))


def draws_entries(run: Run) -> dict[str, DrawsEntry]:
    """The run's posteriors."""
    spent, seconds = evaluations_of(run), seconds_of(run)
    return {
        name: DrawsEntry(settings["name"], settings["draws"], cost(name, spent), seconds.get(name))
        for name, settings in run.posteriors().items()
    }


def column_entries(run: Run) -> dict[str, ColumnEntry]:
    """The columns of the run's table, what each cost, and what of that was measured."""
    evaluate, spent, seconds = STAGES["evaluate"].declared(run), evaluations_of(run), seconds_of(run)

    def entry(name: str, column: Column) -> ColumnEntry:
        part, cost = entry_of(run, name), cost_of(evaluate, column, spent)
        measured = seconds.get(column.charged_to or name)
        return ColumnEntry(column.label, column.kind, part.source, cost, measured, needs_posterior(part))

    return {name: entry(name, column) for name, column in evaluate.columns.items()}


def needs_posterior(part: ScorePart) -> bool:
    """Whether a score can be had only with draws of a posterior, or with its size."""
    return part.source in ("draws", "propagation", "weights") or bool(part.needs & {"members", "isotropic"})


def evaluations_of(run: Run) -> dict[str, Tensor]:
    """Columns of network evaluations, of samples and probe."""
    stored = Shards(run.path("sample"))
    counted = {name: stored.read(name) for name in stored.names if name.startswith(SPENT)}
    return counted | read_probed(STAGES["evaluate"].declared(run).probe)


def seconds_of(run: Run) -> dict[str, float]:
    """Of one sample, of draws and scores, as far as they were measured."""
    found: dict[str, float] = {}
    for stage in ("sample", "probe"):
        notes: Mapping[str, Any] = run.artefacts[stage].notes() if stage in run.artefacts else {}
        for key in ("seconds_per_sample", "score_seconds"):
            found |= {name: float(value) for name, value in notes.get(key, {}).items() if value > 0}
    return found


# The truth


def truth_of(run: Run) -> Truth:
    """What the data's oracle says of the run's samples; where they have none, what the run's judge said."""
    stored, oracle = Shards(run.path("sample")), test_set(run).oracle
    if oracle is None:
        return judged(read_evaluation(run.path("evaluate")).samples.column(BAD))
    classes = stored.read("class")
    return oracle.truth(stored.read("image"), classes if bool((classes >= 0).all()) else None)


def judged(bad: Sequence[float]) -> Truth:
    """The verdicts of a judge, who knows neither kinds of faults nor their sizes or places."""
    kinds = torch.tensor(bad).long()
    names = (VALID, JUDGED_BAD)
    return Truth(kinds, names, names, kinds.double(), torch.zeros(len(kinds), 0, dtype=torch.bool))


def truth_tensors(run: Run, truth: Truth) -> dict[str, Tensor]:
    """The truth as a file has it, and the complexity of images."""
    found = {"kinds": truth.kinds, "defect_size": truth.defect_size, "parts": truth.parts}
    if truth.mask is not None:
        found["mask"] = truth.mask
    images = Shards(run.path("sample")).read("image")
    return found | ({"complexity": png_bytes(shown(images, True)).double()} if images.ndim == 4 else {})
