"""Scores that a sampler's own trajectory gives: watchers of a run, each with its cost counted while it works."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from genuq import randomness
from genuq.errors import ConfigurationError
from genuq.models import GenerativeModel, Meter, Observer, Sampler, StageRecord, evaluating, metered, sample
from genuq.parts.bounds import Window, check
from genuq.processes import conversion
from genuq.scores.shared import Cost, Resources, recording, score_together
from genuq.solvers import AffineStage

Progress = Callable[[int], None]
PATH = "all path scores"  # what evaluations of the scores of the path are counted under, each of them once


class Watcher(ABC):
    """An observer of one batch of samples that has a score for each of them when the sampler has finished.

    Args:
        model, sampler, indices: of the batch.
    """

    def __init__(self, model: GenerativeModel, sampler: Sampler, indices: Sequence[int]) -> None:
        self.model, self.sampler, self.indices = model, sampler, indices
        classes = sampler.classes_of(model, indices)
        self.classes = None if classes is None else classes.to(model.device)

    @abstractmethod
    def __call__(self, record: StageRecord) -> None:
        """See one stage."""

    @abstractmethod
    def score(self) -> Tensor:
        """(B,) float64, higher is more suspicious; asked once, after the last stage."""

    def predict(self, x: Tensor, t: float) -> Tensor:
        """The prediction that the sampler would use at states x (B, ...), guidance included."""
        t_B = torch.full((len(x),), t, device=x.device, dtype=x.dtype)
        return self.model.guided(x, t_B, self.classes, self.sampler.guidance_scale)

    def keyed(self, stream: str) -> list[torch.Generator]:
        """A source of randomness for each sample."""
        return randomness.generators(self.sampler.seed, self.indices, stream)


class StepWatcher(Watcher):
    """A watcher of the states on the trajectory: it looks at the first stage of each step inside a window.

    The auxiliary points of second-order solvers are passed over.

    Args:
        window: the steps it looks at, as fractions of all steps; (0.8, 1) is the last fifth, and at least one step.

    Attributes:
        steps: the numbers of these steps, from 0.
        step: the number of the current one.
    """

    least_steps = 1

    def __init__(self, model: GenerativeModel, sampler: Sampler, indices: Sequence[int], window: Window) -> None:
        super().__init__(model, sampler, indices)
        self.ends = [stage.t_next for stage in sampler.stages(model) if not stage.intermediate]
        self.steps = steps_in(window, len(self.ends), self.least_steps)
        self.step, self._starts_step = 0, True
        self._stage: AffineStage | None = None

    def __call__(self, record: StageRecord) -> None:
        if self._starts_step and self.step in self.steps:
            self._stage = record.stage
            self.look(record)
        self._starts_step = not record.stage.intermediate
        self.step += self._starts_step

    def predict(self, x: Tensor, t: float) -> Tensor:
        if self._stage is None or t != self._stage.t:
            return super().predict(x, t)
        t_B = torch.full((len(x),), t, device=x.device, dtype=x.dtype)
        return self.model.guided(x, t_B, self.classes, self.sampler.guidance_scale, self._stage.network_times(x))

    @abstractmethod
    def look(self, record: StageRecord) -> None:
        """See the first stage of a step; record.states[0] is the state on the trajectory."""

    def hats(self, t: float) -> tuple[float, float, float, float]:
        """(a, b, c, d) with x0_hat = a x + b f and eps_hat = c x + d f."""
        a, b, c, d = (float(number) for number in conversion(self.model.prediction, self.model.process, t))
        return a, b, c, d


def steps_in(window: Window, total: int, least: int = 1) -> range:
    """The steps of `total` that lie in a window given as fractions, widened at its start to at least `least`.

    Raises:
        ConfigurationError: not 0 <= first < last <= 1, or fewer than `least` steps in all.
    """
    check("score.window", window, Window)
    if total < least:
        raise ConfigurationError(f"sampler.steps = {total}; this score compares at least {least} steps.")
    stop = max(round(window[1] * total), least)
    return range(min(round(window[0] * total), stop - least), stop)


@dataclass(frozen=True)
class Watched:
    """Samples with the scores of their trajectories.

    Attributes:
        samples: what `genuq.sample` gives, bit for bit.
        scores: (N,) float64 for each watcher.
        evaluations: network evaluations of one sample: of the `sampling` itself, and beside it of each watcher. Of each
            score of the path those that it would take alone; those of all of them together are under `PATH`.
        seconds: of one sample, of each watcher and score.
        path: what was recorded of the samplers' paths, see `PathRecorder.tensors`; empty unless it was to be kept.
        maps: (N, H, W) float64 of the scores of the path that left one.
    """

    samples: Tensor
    scores: dict[str, Tensor]
    evaluations: dict[str, float]
    seconds: dict[str, float] = field(default_factory=dict)
    path: dict[str, Tensor] = field(default_factory=dict)
    maps: dict[str, Tensor] = field(default_factory=dict)


def watch(
    model: GenerativeModel,
    sampler: Sampler,
    indices: Sequence[int],
    watchers: Mapping[str, Callable[..., Watcher]],
    progress: Progress | None = None,
    path_scores: Mapping[str, Callable[[Any], Tensor]] | None = None,
    resources: Resources | None = None,
    keep_path: bool = False,
) -> Watched:
    """Sample once, and score every sample by each of the watchers on the way, and by scores of the path afterwards.

    Args:
        watchers: by name; each is called with (model, sampler, indices of a batch).
        progress: called with the number of samples that each batch finished.
        path_scores: by name; each is called with the `SamplerPath` of a batch, which all of them share.
        resources: that they may ask for.
        keep_path: whether the path is returned.
    """
    parts, on_path = [], dict(path_scores or {})
    with metered(model) as meter:
        for start in range(0, max(1, len(indices)), sampler.batch_size):
            batch = indices[start : start + sampler.batch_size]
            parts.append(_watch_batch(model, sampler, batch, watchers, meter, on_path, resources, keep_path))
            if progress:
                progress(len(batch))
    samples = torch.cat([part.samples for part in parts])
    names = (*watchers, *on_path)
    scores = {name: torch.cat([part.scores[name] for part in parts]) for name in names}
    alone = {name: sum((part.costs[name] for part in parts), Cost()) / len(samples) for name in on_path}
    spent = {"sampling": 0.0, **dict.fromkeys(watchers, 0.0), **({PATH: 0.0} if on_path else {})}
    spent |= meter.per_sample(len(samples)) | {name: cost.evaluations for name, cost in alone.items()}
    seconds = {name: meter.seconds[name] / len(samples) for name in watchers}
    seconds |= {name: cost.seconds for name, cost in alone.items()}
    path = {name: torch.cat([part.path[name] for part in parts]) for name in parts[0].path}
    maps = {name: torch.cat([part.maps[name] for part in parts]) for name in parts[0].maps}
    return Watched(samples, scores, spent, seconds, path, maps)


@dataclass(frozen=True)
class _Batch:
    """The samples, scores and maps of a batch, and what each score of the path would have cost alone; and the path
    where it is kept.
    """

    samples: Tensor
    scores: dict[str, Tensor]
    costs: dict[str, Cost]
    path: dict[str, Tensor]
    maps: dict[str, Tensor] = field(default_factory=dict)


def _watch_batch(
    model: GenerativeModel,
    sampler: Sampler,
    indices: Sequence[int],
    watchers: Mapping[str, Callable[..., Watcher]],
    meter: Meter,
    path_scores: Mapping[str, Callable[[Any], Tensor]],
    resources: Resources | None,
    keep_path: bool,
) -> _Batch:
    sampler.check(model)
    built = {name: build(model, sampler, indices) for name, build in watchers.items()}
    observers = [_charged(meter, name, watcher) for name, watcher in built.items()]
    with contextlib.ExitStack() as stack:
        recorder = stack.enter_context(recording(model, sampler, indices)) if path_scores or keep_path else None
        first: list[Observer] = [] if recorder is None else [recorder]
        samples = sample(model, sampler, indices, observers=[*first, *observers])
    scores = {}
    with evaluating(model):
        for name, watcher in built.items():
            with meter.charging(name), torch.no_grad():
                scores[name] = watcher.score().cpu()
    if recorder is None:
        return _Batch(samples, scores, {}, {})
    path = recorder.tensors() if keep_path else {}
    if not path_scores:
        return _Batch(samples, scores, {}, path)
    with meter.charging(PATH):
        together = score_together(recorder.path(resources), path_scores)
    return _Batch(samples, scores | together.values, together.costs, path, together.maps)


def _charged(meter: Meter, name: str, watcher: Watcher) -> Observer:
    def observe(record: StageRecord) -> None:
        with meter.charging(name):
            watcher(record)

    return observe
