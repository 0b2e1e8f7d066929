"""The stage that fits the posterior over the head, and the control of the same size without curvature."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from genuq import posteriors
from genuq.posteriors import FitResult, IsotropicNoise, LastLayerPosterior, ScaleOptions
from genuq.stages.artefacts import StageFolder
from genuq.stages.progress import Display
from genuq.stages.run import Run
from genuq.stages.stage import Stage, checkpoint_identity


class Fit(Stage):
    """Leaves posterior.safetensors; scale, reasons, evidence curve and cost stand in the manifest."""

    name = "fit"
    groups = ("data", "posterior")

    def settings(self, run: Run) -> dict[str, Any]:
        settings = super().settings(run) | {"checkpoint": checkpoint_identity(run), "head": run.config.model.head}
        for key in ("draws", "batch_size"):
            settings["posterior"].pop(key)
        return settings

    def work(self, run: Run, folder: StageFolder, display: Display) -> Mapping[str, Any]:
        settings = run.config.posterior
        with display.bar("fitting the posterior", settings.images + settings.held_out) as advance:
            done = 0

            def report(so_far: int, _: int) -> None:
                nonlocal done
                advance(so_far - done)
                done = so_far

            fitted = posteriors.fit(
                run.model,
                run.training_set,
                kind="exact_laplace" if matches_exact(run) else settings.name,
                images=settings.images,
                held_out=settings.held_out,
                batch_size=settings.batch_size,
                seed=run.config.seed,
                scale=scale_options(run),
                progress=report,
                **({} if settings.convention is None else {"convention": settings.convention}),
            )
        if matches_exact(run):
            fitted = as_isotropic(fitted)
        summary = summary_of(fitted)
        fitted.posterior.save(folder.path / "posterior.safetensors", {"fit": json.dumps(summary)})
        return summary


def matches_exact(run: Run) -> bool:
    """Whether the posterior is isotropic noise whose size is left to the exact posterior."""
    settings = run.config.posterior
    sized = settings.prior_precision is not None or settings.relative_perturbation is not None
    return settings.name == IsotropicNoise.kind and not sized


def as_isotropic(fitted: FitResult) -> FitResult:
    """The fit with isotropic noise of the same mean variance in place of its posterior."""
    noise = matched_noise(fitted.posterior)
    how = {**fitted.chosen.how, "prior_precision": "one over the mean variance of the exact last-layer posterior"}
    chosen = replace(fitted.chosen, scale=noise.require_final(), how=how, evidence=None)
    return replace(fitted, posterior=noise, chosen=chosen)


def scale_options(run: Run) -> ScaleOptions:
    settings = run.config.posterior
    return ScaleOptions(
        n_effective=settings.n_effective,
        observation_noise=settings.observation_noise,
        prior_precision=settings.prior_precision,
        temperature=settings.temperature,
        relative_perturbation=settings.relative_perturbation,
    )


def summary_of(fitted: FitResult) -> dict[str, Any]:
    """Scale, reasons and cost of a fit as plain data."""
    scale = fitted.chosen.scale
    return {
        "scale": {
            "n_effective": scale.n_effective,
            "n_seen": fitted.posterior.n_seen,
            "observation_noise": scale.observation_noise,
            "prior_precision": scale.prior_precision,
            "temperature": scale.temperature,
            "relative_perturbation": fitted.posterior.relative_perturbation(),
            "how": fitted.chosen.how,
        },
        "evidence": fitted.chosen.evidence,
        "residual_variance": fitted.held_out.residual_variance,
        "fit_seconds": fitted.seconds,
        "trunk_forward_seconds": fitted.forward_seconds,
    }


def load_posterior(run: Run) -> LastLayerPosterior:
    """The run's fitted posterior."""
    kind = posteriors.KINDS[run.config.posterior.name]
    return kind.load(run.folder / "fit" / "posterior.safetensors", run.model.head)


def matched_noise(posterior: LastLayerPosterior) -> IsotropicNoise:
    """Isotropic weight noise with the mean variance of `posterior`."""
    scale = posterior.require_final()
    noise = IsotropicNoise(posterior.head.layer, posterior.active_O)
    noise.n_seen = posterior.n_seen
    return noise.finalise(
        posteriors.Scale(scale.n_effective, scale.observation_noise, 1 / posterior.mean_variance(), 1.0)
    )
