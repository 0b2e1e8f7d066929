"""Network evaluations of propagators and applications before they are made; those of sampling: `pipeline.counting`.

What they evaluate depends on the settings, never on what the network answers. So they run for one sample and for two,
whose difference is what each further one costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genuq import propagators
from genuq.applications import APPLICATIONS
from genuq.extractors import FromCallable
from genuq.likelihoods import Likelihood
from genuq.models import GenerativeModel, Sampler, metered
from genuq.pipeline.configured import untrained_model
from genuq.pipeline.counting import Count, moves_head_alone, remembered, sampler_of, stand_in, stand_in_posterior
from genuq.pipeline.stages.applications import application_settings
from genuq.pipeline.stages.propagate import SHARED, default_propagator, propagator_of
from genuq.planning.planned import PlannedRun
from genuq.posteriors import Posterior
from genuq.posteriors.curvature.head import head_of
from genuq.propagators import propagate

JUDGED = ("before", "ours", "control")  # of what an application makes


def propagated_count(run: PlannedRun) -> Count:
    """Of the configured propagator, beside the sampling that it watches; a forward-mode derivative counts as two."""
    settings = run.plain("propagator")["propagator"]
    own = {key: value for key, value in settings.items() if key not in SHARED}
    return remembered(
        run, "propagated", [settings["name"], own, _posterior_like(run)], lambda: _propagated_count(run, own)
    )


def _propagated_count(run: PlannedRun, own: dict[str, Any]) -> Count:
    name = run.config.propagator.name
    if name != "coherent" or own["draws"] is not None:
        return _further(run, propagator_of(run))
    directions = head_of(untrained_model(run).head).inputs * head_of(untrained_model(run).head).outputs
    two, three = (_further(run, propagators.build(name, **own | {"draws": draws})) for draws in (2, 3))
    return Count(two.forward + (directions - 2) * (three.forward - two.forward), 0.0, two.forward_once)


def _further(run: PlannedRun, propagator: propagators.Propagator) -> Count:
    model, sampler = stand_in(run), sampler_of(run)
    posterior = stand_in_posterior(run, model)
    found = [propagate(model, posterior, sampler, range(count), propagator) for count in (1, 2)]
    one, two = (count * (part.evaluations - part.plain_evaluations) for count, part in zip((1, 2), found))
    return Count(two - one, 0.0, 2 * one - two)


def _posterior_like(run: PlannedRun) -> list[Any]:
    """What of the run's posterior a propagator's evaluations depend on."""
    head = head_of(untrained_model(run).head)
    return [moves_head_alone(run), head.inputs, head.outputs]


@dataclass(frozen=True)
class StandInSampling:
    """What an application makes new samples with, of the small network."""

    model: GenerativeModel
    posterior: Posterior
    likelihood: Likelihood
    sampler: Sampler
    draws: int
    seed: int = 0

    def propagator(self, name: str) -> propagators.Propagator:
        return default_propagator(name, self.draws)


class Applied(NamedTuple):
    """What an application takes for each sample that it works on.

    Attributes:
        evaluations: of the network.
        seen: images that the encoder sees.
        decoded: images that the autoencoder makes.
        judged: images that the judge sees beside the run's own.
    """

    evaluations: Count = Count()
    seen: float = 0.0
    decoded: float = 0.0
    judged: float = 0.0


def application_count(run: PlannedRun) -> Applied:
    """Of the configured application."""
    settings = run.plain("application")["application"]
    if APPLICATIONS.get(settings["name"]).make_samples is None:
        return Applied()
    kept = [settings, _posterior_like(run), run.config.posterior.draws]
    return remembered(run, "application", kept, lambda: _application_count(run))


def _application_count(run: PlannedRun) -> Applied:
    """All of it forwards: no application differentiates."""
    (one, *images), (two, *_) = (_applied(run, count) for count in (1, 2))
    return Applied(Count(two - one, 0.0, 2 * one - two), *images)


def _applied(run: PlannedRun, samples: int) -> tuple[float, float, float, float]:
    model, seen = stand_in(run), 0

    def look(images: Tensor) -> Tensor:
        nonlocal seen
        seen += len(images)
        return torch.zeros(len(images), 1)

    likelihood, part = Likelihood(FromCallable(look, "counting", 1)), APPLICATIONS.get(run.config.application.name)
    assert part.make_samples is not None
    draws, posterior = run.config.posterior.draws, stand_in_posterior(run, model)
    with metered(model) as meter, _Decoded(model) as decoded:
        known = StandInSampling(model, posterior, likelihood, sampler_of(run), draws)
        made = part.make_samples(application_settings(run), known, list(range(samples)))
    judged = sum(getattr(made, name).numel() for name in JUDGED if hasattr(made, name)) / prod(model.shape)
    return float(sum(meter.evaluations.values())), seen / samples, decoded.rows / samples, judged / samples


class _Decoded:
    """Counts the latents that a model's autoencoder makes images of."""

    def __init__(self, model: GenerativeModel) -> None:
        self.autoencoder, self.rows = model.autoencoder, 0

    def __enter__(self) -> _Decoded:
        plain = self.autoencoder.decode

        def decode(latents: Tensor) -> Tensor:
            self.rows += len(latents)
            return plain(latents)

        self.autoencoder.decode = decode  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        del self.autoencoder.decode
