"""The stage that fits: the main posterior and the others, each with its scale, its reasons and its cost."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from genuq import files, posteriors
from genuq.display import Display
from genuq.identity import identity_of
from genuq.parallel import collectives
from genuq.pipeline.configured import data_inputs, model_inputs
from genuq.pipeline.inputs import DataInputs, ModelInputs, code_of
from genuq.pipeline.posteriors import (
    FITTED,
    fit_settings,
    in_order,
    of_members,
    posterior_path,
    size_from_exact,
    size_source,
    take_size,
)
from genuq.pipeline.run import Run, hardware_of
from genuq.pipeline.stage import Stage, artefact_of
from genuq.pipeline.stages.members import MembersInputs, fit_members_of, members_inputs
from genuq.posteriors import ExactLastLayerLaplace, FitResult, FitSettings
from genuq.posteriors.fitting.doubts import UNREAD
from genuq.posteriors.fitting.passes import PassRunner
from genuq.posteriors.fitting.reading import warn_of
from genuq.store.artefact import StageFolder, fingerprint
from genuq.store.cached import same_file
from genuq.store.once import make_once

FITTING_VERSION = 6  # raised whenever a fit gives another posterior from the same settings


@dataclass(frozen=True)
class StreamedInputs:
    """A posterior that is fitted to a stream of training images.

    Attributes:
        posterior: how it is fitted.
        precision: of the network's passes, as the trainer has it.
        code: of a kind that is not genuq's own.
        takes_size_of_exact: whether it is noise of the size of the posterior that `posterior` says how to fit.
    """

    model: ModelInputs
    data: DataInputs
    posterior: FitSettings
    precision: str
    takes_size_of_exact: bool
    code: Mapping[str, Any] | None


@dataclass(frozen=True)
class SizedInputs:
    """Noise of the size of another posterior.

    Attributes:
        kind: of the noise.
        other: whose size it takes.
        source: what the configuration calls the other.
    """

    model: ModelInputs
    kind: str
    other: FittedPosterior
    source: str


@dataclass(frozen=True)
class FittedPosterior:
    """An artefact of its own: posterior.safetensors; of ensembles also the members that were made for it.

    Attributes:
        folder: where it lies; its fingerprint covers `inputs`.
        inputs: what it depends on.
    """

    folder: StageFolder
    inputs: StreamedInputs | MembersInputs | SizedInputs

    @property
    def identity(self) -> str:
        return self.folder.fingerprint


@dataclass(frozen=True)
class FitInputs:
    """The posteriors of a run by the names of their draws, in the order in which they can be fitted."""

    posteriors: Mapping[str, FittedPosterior]


class Fit(Stage[FitInputs]):
    """Leaves posterior.safetensors, and NAME.safetensors for each further posterior.

    Each posterior is an artefact of its own, so that runs which differ in one share the others. Scales, reasons, curves
    and costs stand in the manifest.
    """

    name = "fit"
    shared = True
    version = 5

    def inputs(self, run: Run) -> FitInputs:
        return FitInputs({name: posterior_of(run, name) for name in in_order(run.posteriors())})

    def work(self, inputs: FitInputs, folder: StageFolder, display: Display) -> Mapping[str, Any]:
        summaries = {}
        for name, posterior in inputs.posteriors.items():
            part = posterior.folder
            make_posterior(posterior, name, display)
            if collectives.is_first_process():
                gather(part.path, folder.path, name)
            summaries[name] = part.notes()
        if collectives.is_first_process():
            warn_of(doubts_of(summaries))
        return {"posteriors": summaries}


def make_posterior(posterior: FittedPosterior, name: str, display: Display) -> None:
    """Fit a posterior unless it was fitted before; in all processes alike. One whose size it takes is there by then."""
    with make_once(posterior.folder, f"posterior {name}", display, shared=True, thoroughly=True) as making:
        if making.here:
            making.notes = fit_one(posterior.inputs, posterior.folder.path, display)


def posterior_of(run: Run, name: str) -> FittedPosterior:
    """The artefact of one of the run's posteriors."""
    inputs = posterior_inputs(run, name)
    folder = artefact_of(run, "posterior", FITTING_VERSION, inputs)
    run.artefacts[f"posterior.{name}"] = folder
    return FittedPosterior(folder, inputs)


def posterior_inputs(run: Run, name: str) -> StreamedInputs | MembersInputs | SizedInputs:
    """What one of the run's posteriors depends on."""
    entry, model = run.posteriors()[name], model_inputs(run)
    if (other := size_source(entry)) is not None:
        return SizedInputs(model, entry["name"], posterior_of(run, other), entry["match"])
    if of_members(entry):
        return members_inputs(run, entry, model)
    settings, by_exact = fit_settings(run, name), size_from_exact(entry)
    if by_exact:
        settings = replace(settings, kind=ExactLastLayerLaplace.kind)
    precision, code = hardware_of(run).precision, code_of(posteriors.POSTERIORS.get(entry["name"]))
    return StreamedInputs(model, data_inputs(run, "train"), settings, precision, by_exact, code)


def fit_one(inputs: Any, folder: Path, display: Display) -> dict[str, Any]:
    """Fit one posterior in all processes; the first one writes it. Returns its summary."""
    fitted = FITS[type(inputs)](inputs, folder, display)
    if collectives.is_first_process():
        fitted.posterior.save(folder / FITTED)
        shutil.rmtree(folder / "passes", ignore_errors=True)
    return summary_of(fitted)


def fit_streamed(inputs: StreamedInputs, folder: Path, display: Display) -> FitResult:
    """Stream training images through the network; finished passes of a killed fit are found in `folder`."""
    model, settings = inputs.model.open(), inputs.posterior
    with display.bar(f"fitting {settings.kind}", settings.rows) as advance:
        identity = fingerprint(identity_of(inputs))
        runner = PassRunner(model, folder / "passes", identity, inputs.precision, advance)
        fitted = posteriors.fit_by(runner.run, model, inputs.data.train, settings)
    if fitted.reading is None:
        display.say(UNREAD)
    if not inputs.takes_size_of_exact:
        return fitted
    noise = take_size(fitted.posterior, model.network, posteriors.IsotropicNoise.kind, "the exact last-layer posterior")
    return replace(fitted, posterior=noise.posterior, chosen=noise.chosen)


def fit_size(inputs: SizedInputs, folder: Path, display: Display) -> FitResult:
    """Give noise the size of another posterior, which is fitted already."""
    model = inputs.model.open()
    other = posteriors.load(inputs.other.folder.path / FITTED, model)
    return take_size(other, model.network, inputs.kind, f"'{inputs.source}'")


FITS: dict[type, Callable[[Any, Path, Display], FitResult]] = {
    StreamedInputs: fit_streamed,
    MembersInputs: fit_members_of,
    SizedInputs: fit_size,
}


def doubts_of(summaries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Each doubt about the fits once; summaries of earlier versions have none."""
    return list(dict.fromkeys(doubt for summary in summaries.values() for doubt in summary.get("doubts", ())))


def gather(part: Path, folder: Path, name: str) -> None:
    """One posterior's files under their names in the artefact of the fit."""
    same_file(part / FITTED, posterior_path(folder, name))
    for member in sorted((part / "members").glob("*")):
        same_file(member, folder / f"{name}-members" / member.name)


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
        "dominance": files.plain(posteriors.prior_dominance(fitted.posterior)),
        "reading": files.plain(fitted.reading),
        "doubts": list(fitted.doubts),
    }
