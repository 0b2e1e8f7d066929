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
from genuq.errors import ConfigurationError, did_you_mean
from genuq.posteriors import (
    ChosenScale,
    ExactLastLayerLaplace,
    FitResult,
    FitSettings,
    IsotropicNoise,
    NetworkNoise,
    Posterior,
    ScaleOptions,
)
from genuq.posteriors.fitting import Runner
from genuq.posteriors.held_out import HeldOutSums
from genuq.scores import SCORES
from genuq.stages.artefacts import StageFolder, fingerprint
from genuq.stages.progress import Display
from genuq.stages.run import Run
from genuq.stages.run_members import members_identity, run_members
from genuq.stages.stage import Stage, checkpoint_identity, made, was_made
from genuq.stages.streaming import StreamingPass, stream
from genuq.stages.train import hardware_of

FITTED = "posterior.safetensors"
FITTING_VERSION = 4  # raised whenever a fit gives another posterior from the same settings
OWN = "draws"  # what the run's own posterior is called among all of them
RESERVED = {OWN, "posterior", "unperturbed", "image", "index", "class", "real", *SCORES}
NOISES = (IsotropicNoise.kind, NetworkNoise.kind)  # posteriors that know no data
OPTIONS = (
    "convention",
    "layers",
    "approximation",
    "fraction",
    "weights",
    "subset_seed",
    "rate",
)  # of the posteriors' constructors


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


def posterior_path(folder: Path, name: str) -> Path:
    return folder / f"{'posterior' if name == OWN else name}.safetensors"


def in_order(settings: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The posteriors' names, those that take their size from another one last."""
    return sorted(settings, key=lambda name: settings[name]["match"] is not None)


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


def of_members(settings: Mapping[str, Any]) -> bool:
    """Whether a posterior is fitted to whole sets of weights."""
    return posteriors.KINDS[settings["name"]].source == "weights"


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


def sized_by_exact(settings: Mapping[str, Any]) -> bool:
    """Whether this is isotropic noise on the head whose size is left to the exact posterior."""
    return settings["name"] == IsotropicNoise.kind and not sized(settings)


def sized(settings: Mapping[str, Any]) -> bool:
    """Whether the configuration itself says how large weight noise is."""
    return settings["prior_precision"] is not None or settings["relative_perturbation"] is not None


def lender(settings: Mapping[str, Any]) -> str | None:
    """The posterior whose size this one takes; the configuration calls the run's own `posterior`."""
    return OWN if settings["match"] == "posterior" else settings["match"]


def runner(run: Run, folder: Path, identity: str, advance: Any) -> Runner:
    """Does a pass through Lightning, on the trainer's devices."""
    where = replace(hardware_of(run), accelerator=run.device.type)

    def run_pass(part: Any, batches: Any, name: str) -> None:
        stream(StreamingPass(run.model, part, batches, folder, name, identity, advance), where)

    return run_pass


def settings_of(run: Run, name: str) -> FitSettings:
    """The fit of one posterior as the configuration has it."""
    settings = run.posteriors()[name]
    return FitSettings(
        kind=settings["name"],
        seed=run.config.seed,
        scale=scale_options(settings),
        options={key: settings[key] for key in OPTIONS if settings[key] is not None},
        **{key: settings[key] for key in ("images", "held_out", "repeats", "batch_size", "time_bins", "fisher_draws")},
    )


def scale_options(settings: Mapping[str, Any]) -> ScaleOptions:
    return ScaleOptions(**{key: settings[key] for key in ScaleOptions.__dataclass_fields__})


def key_of(name: str) -> str:
    """Where the configuration has the posterior called `name`."""
    return "posterior" if name == OWN else f"beside.{name}"


def check_posteriors(run: Run) -> None:
    """Raise ConfigurationError for kinds that do not exist, or sizes to be taken from none of the run's posteriors."""
    for name in run.config.beside:
        if name in RESERVED:
            raise ConfigurationError(f"beside.{name}: this name means something else; choose another.")
    settings = run.posteriors()
    for name, entry in settings.items():
        key = key_of(name)
        if entry["name"] not in posteriors.KINDS:
            raise ConfigurationError(
                f"{key}.name: '{entry['name']}' does not exist.{did_you_mean(entry['name'], posteriors.KINDS)}"
            )
        check_size(settings, name)
        scale_options(entry)


def check_size(settings: Mapping[str, Mapping[str, Any]], name: str) -> None:
    """Raise ConfigurationError for noise without a size, or with one that its lender cannot give."""
    entry, key, other = settings[name], key_of(name), lender(settings[name])
    if other is None:
        if entry["name"] == NetworkNoise.kind and not sized(entry):
            raise ConfigurationError(
                f"{key}: isotropic noise has no likelihood to choose its size from: set {key}.match, "
                f"{key}.prior_precision or {key}.relative_perturbation."
            )
        return
    if entry["name"] not in NOISES:
        raise ConfigurationError(
            f"{key}.match = '{entry['match']}', but '{entry['name']}' has a size of its own; only "
            f"{' and '.join(NOISES)} take another's. Leave it null."
        )
    if other not in settings or settings[other]["match"] is not None:
        lenders = [known for known in settings if known != OWN and settings[known]["match"] is None]
        raise ConfigurationError(
            f"{key}.match: '{entry['match']}' is no posterior of this run that could lend its size."
            + did_you_mean(other, ["posterior", *lenders])
        )
    if entry["name"] == IsotropicNoise.kind and posteriors.KINDS[settings[other]["name"]].scope != "head":
        raise ConfigurationError(
            f"{key}.match: '{entry['match']}' moves other layers than the head too. Use isotropic_network."
        )


def is_control(settings: Mapping[str, Any]) -> bool:
    """Whether a posterior is none: weight noise that knows no data."""
    return settings["name"] in NOISES


def matched(other: Posterior, run: Run, kind: str, source: str) -> FitResult:
    """Isotropic noise that moves the weights as much as another fitted posterior."""
    noise = posteriors.isotropic_like(other, run.model.network, kind)
    how = {key: f"that of {source}" for key in ("n_effective", "observation_noise")}
    how |= {"temperature": "one: no likelihood takes part", "prior_precision": f"gives the noise the size of {source}"}
    chosen = ChosenScale(noise.require_final(), how, evidence=None, criterion="match")
    return FitResult(noise, chosen, HeldOutSums(inputs=0), seconds=0.0, forward_seconds=0.0)


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


def load_posterior(run: Run, name: str = OWN) -> Posterior:
    """A fitted posterior of the run."""
    return posteriors.load(posterior_path(run.path("fit"), name), run.model)
