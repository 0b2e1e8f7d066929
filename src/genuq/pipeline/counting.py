"""Network evaluations before they are made: the run's own code counts them, on a network of one layer.

What a sampler, its watchers and the scores of a path or a probe evaluate depends on the settings, never on what the
network answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from genuq import posteriors
from genuq.identity import identity_of
from genuq.models import CLASSIFIER_FREE, GenerativeModel, Guidance, Sampler, call_plainly, guided_by
from genuq.pipeline.columns import watched_inputs, watchers
from genuq.pipeline.configured import build_sampler, description_of, is_image, training_set, untrained_model
from genuq.pipeline.inputs import PartInputs
from genuq.pipeline.run import Run
from genuq.pipeline.shared_scores import functions_of
from genuq.posteriors import IsotropicNoise, NetworkNoise, Posterior, Scale
from genuq.scores import Resources, score_together, watch
from genuq.scores.probe_scores import ISOTROPIC
from genuq.scores.shared import SharedScores, fresh

SIDE = 16  # pixels of the small image
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


def stand_in(run: Run) -> GenerativeModel:
    """The run's process, prediction type and classes around a network of one layer, for small images or points."""
    model = untrained_model(run)
    shape = (1, SIDE, SIDE) if is_image(run) else tuple(model.latent_shape)
    made = GenerativeModel(
        OneLayer(shape),
        shape,
        model.process,
        model.prediction,
        model.num_classes,
        call=with_variance if model.learns_variance else call_plainly,
        guidance=None if model.guidance is None else plain_guidance(model.guidance),
        learns_variance=model.learns_variance,
    )
    if model.guide is not None:
        guide_classes = model.guide.num_classes
        guided_by(made, GenerativeModel(OneLayer(shape), shape, model.process, model.prediction, guide_classes))
    return made.eval()


def plain_guidance(guidance: Guidance) -> Guidance:
    """One of the same branches for states of any shape, without what the network has no part in."""
    weights = guidance.weights or CLASSIFIER_FREE.weights
    return Guidance(guidance.name, weights, branches=guidance.branches)


def with_variance(network: nn.Module, x: Tensor, t_B: Tensor, y_B: Tensor | None) -> Tensor:
    """The answer, and that the noise of a step lies half way between its bounds."""
    answer = network(x, t_B, y_B)
    return torch.cat([answer, torch.zeros_like(answer)], dim=1)


def sampler_of(run: Run) -> Sampler:
    return replace(build_sampler(run), batch_size=2)


def remembered(run: Run, what: str, settings: Any, count: Callable[[], Any]) -> Any:
    """A count, made once for all runs that agree in what it depends on."""
    model = run.plain("model")["model"]
    own = {key: model[key] for key in ("process", "prediction", "class_conditional") if key in model}
    kept = own or description_of(run)
    sampler = {key: value for key, value in run.plain("sampler")["sampler"].items() if key != "samples"}
    return run.memory([what, settings, kept, sampler, training_set(run).num_classes, is_image(run)], count)


def watched_counts(run: Run) -> dict[str, Count]:
    """Of sampling itself, and of each of the baselines that watch it, by name."""
    return remembered(run, "watched", identity_of(watched_inputs(run)), lambda: _watched_counts(run))


def _watched_counts(run: Run) -> dict[str, Count]:
    model, sampler, build = stand_in(run), sampler_of(run), watchers(watched_inputs(run))
    plain = watch(model, sampler, [0], {}).evaluations["sampling"]
    counts = {"sampling": Count(plain)}
    for name, watcher in build.items():
        forward = _Forward(model)
        with forward:
            both = watch(model, sampler, [0], {name: watcher}).evaluations[name]
        counts[name] = Count(forward.rows - plain, both - (forward.rows - plain))
    return counts


def shared_count(run: Run, source: str, parts: Mapping[str, PartInputs]) -> tuple[Count, float]:
    """(of these scores of the `path` or the `probe` together, images of each sample that the encoder sees)."""
    if not parts:
        return Count(), 0.0
    kept = [identity_of(parts), run.config.posterior.draws]
    found, seen = remembered(run, source, kept, lambda: _shared_scores(run, source, parts))
    return Count(found.evaluations), float(seen)


def counts_alone(run: Run, source: str, parts: Mapping[str, PartInputs]) -> dict[str, float]:
    """Evaluations of one sample that each of these scores of the `path` or the `probe` takes alone, by name."""
    kept = [identity_of(parts), run.config.posterior.draws]
    found, _ = remembered(run, source, kept, lambda: _shared_scores(run, source, parts))
    return {name: cost.evaluations for name, cost in found.costs.items()}


def _shared_scores(run: Run, source: str, parts: Mapping[str, PartInputs]) -> tuple[SharedScores, int]:
    model, sampler, seen = stand_in(run), sampler_of(run), 0

    def look(images: Tensor) -> Tensor:
        nonlocal seen
        seen += len(images)
        return torch.zeros(len(images), 1)

    resources = stand_in_resources(run, model, look)
    predictions = fresh(model, sampler, [0], source, resources).predictions
    return score_together(predictions, functions_of(parts)), seen


def stand_in_resources(run: Run, model: GenerativeModel, look: Callable[[Tensor], Tensor]) -> Resources:
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
        counted = [self.model] if self.model.guide is None else [self.model, self.model.guide]
        self.handles = [
            each.register_forward_hook(lambda module, inputs, output: self._add(len(inputs[0]))) for each in counted
        ]

    def _add(self, rows: int) -> None:
        self.rows += rows

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()


def moves_head_alone(run: Run) -> bool:
    """Whether the run's own posterior leaves everything but the head as it is."""
    layers = run.config.posterior.get("layers")
    named = layers is not None and list(layers) in (["head"], [untrained_model(run).head_name])
    return posteriors.POSTERIORS[run.config.posterior.name].scope == "head" or named


def stand_in_posterior(run: Run, model: GenerativeModel) -> Posterior:
    """Weight noise over the same part of the small network as the run's own posterior covers of the large one."""
    noise = IsotropicNoise(model.head) if moves_head_alone(run) else NetworkNoise(model.network)
    return noise.finalise(Scale(1.0, 1.0, 1.0))
