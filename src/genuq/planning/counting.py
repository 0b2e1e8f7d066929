"""Network evaluations before they are made: the run's own code counts them, on a network of one layer.

What a sampler, its watchers, a propagator or an application evaluate depends on the settings, never on what the
network answers. So they run for one sample and for two, whose difference is what each further one costs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from genuq import posteriors, propagators
from genuq.applications import APPLICATIONS
from genuq.extractors import FromCallable
from genuq.identity import identity_of
from genuq.likelihoods import Likelihood
from genuq.models import GenerativeModel, Sampler, metered
from genuq.pipeline.columns import inputs_of_source, watched_inputs, watchers
from genuq.pipeline.configured import build_sampler, description_of, is_image, training_set, untrained_model
from genuq.pipeline.shared_scores import functions_of
from genuq.pipeline.stages.applications import application_settings
from genuq.pipeline.stages.propagate import SHARED, default_propagator, propagator_of
from genuq.planning.planned import PlannedRun
from genuq.posteriors import IsotropicNoise, NetworkNoise, Posterior, Scale
from genuq.posteriors.curvature.head import head_of
from genuq.propagators import propagate
from genuq.scores import Probe, Resources, score_together, watch
from genuq.scores.baselines.watching import PATH
from genuq.scores.probe_scores import ISOTROPIC

SIDE = 16  # pixels of the small image
JUDGED = ("before", "ours", "control")  # of what an application makes
ANSWER = 0.1  # of the small network, times its input: no variance may vanish


@dataclass(frozen=True)
class Count:
    """Of rows through the network, forwards and backwards, for samples that are made a batch at a time.

    Attributes:
        forward, backward: for each sample.
        forward_once: for each batch, whatever its size.
    """

    forward: float = 0.0
    backward: float = 0.0
    forward_once: float = 0.0

    def of(self, samples: int, batches: int = 1) -> tuple[float, float]:
        """(forward, backward) of so many samples in so many batches."""
        return self.forward * samples + self.forward_once * batches, self.backward * samples


class OneLayer(nn.Module):
    """A network that costs nothing: a number, as a trunk that posteriors may move too, and a head."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        channels = shape[0]
        self.trunk = nn.Parameter(torch.ones(()))
        self.head = nn.Conv2d(channels, channels, 1) if len(shape) == 3 else nn.Linear(channels, channels)
        with torch.no_grad():
            self.head.weight.copy_(ANSWER * torch.eye(channels).reshape(self.head.weight.shape))

    def forward(self, x: Tensor, t_B: Tensor, y_B: Tensor | None) -> Tensor:
        return self.head(self.trunk * x)


def stand_in(run: PlannedRun) -> GenerativeModel:
    """The run's process, prediction type and classes around a network of one layer, for small images or points."""
    model = untrained_model(run)
    shape = (1, SIDE, SIDE) if is_image(run) else tuple(model.latent_shape)
    made = GenerativeModel(OneLayer(shape), shape, model.process, model.prediction, model.num_classes)
    return made.eval()


def sampler_of(run: PlannedRun) -> Sampler:
    return replace(build_sampler(run), batch_size=2)


def remembered(run: PlannedRun, what: str, settings: Any, count: Callable[[], Any]) -> Any:
    """A count, made once for all runs that agree in what it depends on."""
    model = run.plain("model")["model"]
    own = {key: model[key] for key in ("process", "prediction", "class_conditional") if key in model}
    kept = own or description_of(run)
    sampler = {key: value for key, value in run.plain("sampler")["sampler"].items() if key != "samples"}
    return run.memory([what, settings, kept, sampler, training_set(run).num_classes, is_image(run)], count)


def watched_counts(run: PlannedRun) -> dict[str, Count]:
    """Of sampling itself, and of each of the baselines that watch it, by name."""
    return remembered(run, "watched", identity_of(watched_inputs(run)), lambda: _watched_counts(run))


def _watched_counts(run: PlannedRun) -> dict[str, Count]:
    model, sampler, build = stand_in(run), sampler_of(run), watchers(watched_inputs(run))
    plain = watch(model, sampler, [0], {}).evaluations["sampling"]
    counts = {"sampling": Count(plain)}
    for name, watcher in build.items():
        forward = _Forward(model)
        with forward:
            both = watch(model, sampler, [0], {name: watcher}).evaluations[name]
        counts[name] = Count(forward.rows - plain, both - (forward.rows - plain))
    return counts


def shared_count(run: PlannedRun, source: str) -> tuple[Count, float]:
    """(of all the run's scores of the `path` or the `probe` together, images of each sample that the encoder sees)."""
    parts = inputs_of_source(run, source)
    if not parts:
        return Count(), 0.0
    kept = [identity_of(parts), run.config.posterior.draws]
    return remembered(run, source, kept, lambda: _shared_count(run, source))


def _shared_count(run: PlannedRun, source: str) -> tuple[Count, float]:
    model, sampler, seen = stand_in(run), sampler_of(run), 0

    def look(images: Tensor) -> Tensor:
        nonlocal seen
        seen += len(images)
        return torch.zeros(len(images), 1)

    resources, functions = stand_in_resources(run, model, look), functions_of(inputs_of_source(run, source))
    if source == "path":
        found = watch(model, sampler, [0], {}, path_scores=functions, resources=resources).evaluations[PATH]
        return Count(found), float(seen)
    probe = Probe(model, torch.zeros(1, *model.shape), [0], 0, sampler.classes_of(model, [0]), resources)
    return Count(score_together(probe, functions).evaluations), float(seen)


def stand_in_resources(run: PlannedRun, model: GenerativeModel, look: Callable[[Tensor], Tensor]) -> Resources:
    """All that scores may ask for beside the small network."""
    posterior = stand_in_posterior(run, model)
    weak = {name: value.detach() for name, value in model.network.named_parameters()}
    drawn = {"draws": posterior, ISOTROPIC: posterior}
    return Resources(drawn, run.config.posterior.draws, weak=weak, embed=look)


class _Forward:
    """Counts rows forwards alone, where a `Meter` adds those backwards."""

    def __init__(self, model: GenerativeModel) -> None:
        self.model, self.rows = model, 0

    def __enter__(self) -> None:
        self.handle = self.model.register_forward_hook(lambda module, inputs, output: self._add(len(inputs[0])))

    def _add(self, rows: int) -> None:
        self.rows += rows

    def __exit__(self, *_: object) -> None:
        self.handle.remove()


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


def moves_head_alone(run: PlannedRun) -> bool:
    """Whether the run's own posterior leaves everything but the head as it is."""
    layers = run.config.posterior.get("layers")
    named = layers is not None and list(layers) in (["head"], [untrained_model(run).head_name])
    return posteriors.POSTERIORS[run.config.posterior.name].scope == "head" or named


def stand_in_posterior(run: PlannedRun, model: GenerativeModel) -> Posterior:
    """Weight noise over the same part of the small network as the run's own posterior covers of the large one."""
    noise = IsotropicNoise(model.head) if moves_head_alone(run) else NetworkNoise(model.network)
    return noise.finalise(Scale(1.0, 1.0, 1.0))


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
