"""The stage that fits: the run's posterior and those beside it, each with its scale, its reasons and its cost."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from genuq import files, posteriors
from genuq.display import Display
from genuq.parallel import collectives
from genuq.pipeline.posteriors import (
    FITTED,
    in_order,
    of_members,
    posterior_path,
    settings_of,
    size_from_exact,
    size_source,
    take_size,
)
from genuq.pipeline.run import Run
from genuq.pipeline.stage import Stage, checkpoint_identity
from genuq.pipeline.stages.members import members_identity, run_members
from genuq.posteriors import (
    ChosenScale,
    ExactLastLayerLaplace,
    FitResult,
)
from genuq.posteriors.fitting.held_out import HeldOutSums
from genuq.posteriors.fitting.runner import PassRunner
from genuq.store.artefact import StageFolder, fingerprint
from genuq.store.once import make_once

FITTING_VERSION = 4  # raised whenever a fit gives another posterior from the same settings


class Fit(Stage):
    """Leaves posterior.safetensors, and NAME.safetensors for each posterior beside it.

    Each posterior is an artefact of its own (`fitting`), so that runs which differ in one share the others. Scales,
    reasons, curves and costs stand in the manifest.
    """

    name = "fit"
    shared = True
    version = 4

    def weights_of(self, run: Run) -> tuple[str, ...]:
        return ("train",) if run.trains else ()

    def settings(self, run: Run) -> dict[str, Any]:
        return {"posteriors": {name: fitting(run, name).fingerprint for name in run.posteriors()}}

    def work(self, run: Run, folder: StageFolder, display: Display) -> Mapping[str, Any]:
        summaries = {}
        for name in in_order(run.posteriors()):
            part = fitting(run, name)
            work = partial(fit_one, run, name, part.path, display)
            make_once(part, work, f"posterior {name}", display, shared=True, thoroughly=True)
            if collectives.is_first_process():
                gather(part.path, folder.path, name)
            summaries[name] = part.notes()
        return {"posteriors": summaries}


def fitting(run: Run, name: str) -> StageFolder:
    """The artefact of one posterior: posterior.safetensors; of ensembles also the members that were made for it."""
    if (known := f"posterior.{name}") not in run.artefacts:
        run.artefacts[known] = StageFolder.in_store(run.store, fitting_identity(run, name))
    return run.artefacts[known]


def fitting_identity(run: Run, name: str) -> dict[str, Any]:
    """What a fitted posterior depends on."""
    entry = run.posteriors()[name]
    settings = {key: value for key, value in entry.items() if key not in ("draws", "batch_size", "match")}
    if of_members(entry):
        settings["members"] = members_identity(run, entry)
    other = size_source(entry)
    return {
        "stage": "posterior",
        "version": FITTING_VERSION,
        "settings": run.plain("seed", "data") | {"head": run.config.model.head, "posterior": settings},
        "inputs": {
            "checkpoint": checkpoint_identity(run),
            "match": None if other is None else fitting(run, other).fingerprint,
        },
    }


def fit_one(run: Run, name: str, folder: Path, display: Display) -> dict[str, Any]:
    """Fit one posterior in all processes; the first one writes it. Returns its summary."""
    fitted = fitted_posterior(run, name, folder, display)
    if collectives.is_first_process():
        fitted.posterior.save(folder / FITTED)
        shutil.rmtree(folder / "passes", ignore_errors=True)
    return summary_of(fitted)


def gather(part: Path, folder: Path, name: str) -> None:
    """One posterior's files under their names in the artefact of the fit."""
    same_file(part / FITTED, posterior_path(folder, name))
    for member in sorted((part / "members").glob("*")):
        same_file(member, folder / f"{name}-members" / member.name)


def same_file(source: Path, target: Path) -> None:
    """The same file under a second name; a copy where the file system has no such names."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        with files.replacing(target) as temporary:
            shutil.copyfile(source, temporary)


def fitted_posterior(run: Run, name: str, folder: Path, display: Display) -> FitResult:
    """Fit the posterior called `name`, or give it the size of another that is fitted already."""
    settings = run.posteriors()[name]
    if (other := size_source(settings)) is not None:
        lent = posteriors.load(fitting(run, other).path / FITTED, run.model)
        return take_size(lent, run, settings["name"], f"'{settings['match']}'")
    if of_members(settings):
        return from_members(run, settings, folder / "members", display)
    fit_settings = settings_of(run, name)
    if size_from_exact(settings):
        fit_settings = replace(fit_settings, kind=ExactLastLayerLaplace.kind)
    with display.bar(f"fitting {settings['name']}", fit_settings.rows) as advance:
        precision = run.config.trainer.precision
        runner = PassRunner(run.model, folder / "passes", fingerprint(settings), precision, advance)
        fitted = posteriors.fit_by(runner.run, run.model, run.training_set, fit_settings)
    if not size_from_exact(settings):
        return fitted
    noise = take_size(fitted.posterior, run, settings["name"], "the exact last-layer posterior")
    return replace(fitted, posterior=noise.posterior, chosen=noise.chosen)


def from_members(run: Run, settings: Mapping[str, Any], folder: Path, display: Display) -> FitResult:
    """The posterior of whole sets of weights, made in `folder`."""
    started = time.perf_counter()
    posterior = run_members(run, settings, folder, display)
    no_prior = "none: these members know no prior"
    how = {
        "n_effective": "given, or the size of the training set",
        "observation_noise": "given, or the mean squared error of the trained network on training images",
        "prior_precision": "one over the mean variance of the prior" if settings["prior_relative_size"] else no_prior,
        "temperature": "multiplies the squared deviations of the draws",
    }
    chosen = ChosenScale(posterior.require_final(), how, evidence=None, criterion="members")
    return FitResult(posterior, chosen, HeldOutSums(inputs=0), time.perf_counter() - started, forward_seconds=0.0)


def summary_of(fitted: FitResult) -> dict[str, Any]:
    """Scale, reasons, curves and cost of a fit as plain data."""
    scale, chosen = fitted.chosen.scale, fitted.chosen
    return {
        "kind": fitted.posterior.kind,
        "scale": {
            "n_effective": scale.n_effective,
            "n_seen": fitted.posterior.n_seen,
            "observation_noise": scale.observation_noise,
            "prior_precision": scale.prior_precision,
            "temperature": scale.temperature,
            "relative_perturbation": fitted.posterior.relative_perturbation(),
            "how": chosen.how,
            "criterion": chosen.criterion,
        },
        "evidence": chosen.evidence,
        "predictive": chosen.predictive,
        "noise_profile": chosen.noise_profile,
        "residual_variance": fitted.held_out.residual_variance if fitted.held_out.images else None,
        "fit_seconds": fitted.seconds,
        "trunk_forward_seconds": fitted.forward_seconds,
    }
