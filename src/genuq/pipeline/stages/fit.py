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
from genuq.pipeline.posteriors import (
    FITTED,
    in_order,
    lender,
    matched,
    of_members,
    posterior_path,
    settings_of,
    sized_by_exact,
)
from genuq.pipeline.run import Run, hardware_of
from genuq.pipeline.stage import Stage, checkpoint_identity, made, was_made
from genuq.pipeline.stages.members import members_identity, run_members
from genuq.posteriors import (
    ChosenScale,
    ExactLastLayerLaplace,
    FitResult,
)
from genuq.posteriors.fitting.fitting import Runner
from genuq.posteriors.fitting.held_out import HeldOutSums
from genuq.store.artefact import StageFolder, fingerprint
from genuq.training.streaming import StreamingPass, stream

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
            if made(part, partial(fit_one, run, name, part, display), f"posterior {name}", display):
                part.verify()
                display.say(f"posterior {name}: already fitted, reused")
            gather(part.path, folder.path, name)
            summaries[name] = part.notes()
        return {"posteriors": summaries}

    def assist(self, run: Run, display: Display) -> None:
        """Fit along: the sums of all processes are added within the passes."""
        for name in in_order(run.posteriors()):
            part = fitting(run, name)
            if not was_made() and run.posteriors()[name]["match"] is None:
                fitted_posterior(run, name, part.path, display)


def fitting(run: Run, name: str) -> StageFolder:
    """The artefact of one posterior: posterior.safetensors; of ensembles also the members that were made for it."""
    if (known := f"posterior.{name}") not in run.artefacts:
        run.artefacts[known] = StageFolder.in_store(run.store, fitting_identity(run, name))
    return run.artefacts[known]


def fitting_identity(run: Run, name: str) -> dict[str, Any]:
    """What a fitted posterior depends on."""
    entry, other = run.posteriors()[name], lender(run.posteriors()[name])
    elsewhere = ("draws", "batch_size", "match", "checkpoints")
    settings: dict[str, Any] = {
        **run.plain("seed"),
        "data": run.contents("train"),
        "head": run.config.model.head,
        "posterior": {key: value for key, value in entry.items() if key not in elsewhere},
    }
    if of_members(entry):
        settings["posterior"]["members"] = members_identity(run, entry)
    elif other is None:  # made by passes over the data
        settings["trainer"] = {"precision": run.config.trainer.precision}
    match = None if other is None else fitting(run, other).fingerprint
    inputs: dict[str, Any] = {"checkpoint": checkpoint_identity(run), "match": match}
    if not run.trains and (autoencoder := run.autoencoder_content()) is not None:  # no part of the checkpoint
        inputs["autoencoder"] = autoencoder
    return {"stage": "posterior", "version": FITTING_VERSION, "settings": settings, "inputs": inputs}


def fit_one(run: Run, name: str, part: StageFolder, display: Display) -> None:
    started = time.perf_counter()
    fitted = fitted_posterior(run, name, part.path, display)
    fitted.posterior.save(part.path / FITTED)
    shutil.rmtree(part.path / "passes", ignore_errors=True)
    part.complete(time.perf_counter() - started, summary_of(fitted))


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
    if (other := lender(settings)) is not None:
        lent = posteriors.load(fitting(run, other).path / FITTED, run.model)
        return matched(lent, run, settings["name"], f"'{settings['match']}'")
    if of_members(settings):
        return from_members(run, settings, folder / "members", display)
    fit_settings = settings_of(run, name)
    if sized_by_exact(settings):
        fit_settings = replace(fit_settings, kind=ExactLastLayerLaplace.kind)
    with display.bar(f"fitting {settings['name']}", fit_settings.rows) as advance:
        run_pass = runner(run, folder / "passes", fingerprint(settings), advance)
        fitted = posteriors.fit_by(run_pass, run.model, run.training_set, fit_settings)
    if not sized_by_exact(settings):
        return fitted
    noise = matched(fitted.posterior, run, settings["name"], "the exact last-layer posterior")
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


def runner(run: Run, folder: Path, identity: str, advance: Any) -> Runner:
    """Does a pass through Lightning, on the trainer's devices."""
    where = replace(hardware_of(run), accelerator=run.device.type)

    def run_pass(part: Any, batches: Any, name: str) -> None:
        stream(StreamingPass(run.model, part, batches, folder, name, identity, advance), where)

    return run_pass


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
