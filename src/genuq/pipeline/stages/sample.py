"""The stage that samples: every sample unperturbed, under each weight draw, and under the controls that resample.

Shards are keyed by sample index. A killed run finds its finished shards again and goes on with the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genuq import files
from genuq.display import Display
from genuq.identity import where_given
from genuq.models import GenerativeModel, Sampler, metered, sample, to_bytes
from genuq.parallel import collectives
from genuq.pipeline.columns import (
    evaluation_counts,
    inputs_of_source,
    is_version,
    leaving_maps,
    maps_of,
    regenerated,
    score_seconds,
    watched,
    watched_inputs,
)
from genuq.pipeline.configured import model_inputs, sampler_inputs
from genuq.pipeline.inputs import ModelInputs, PartInputs, SamplerInputs
from genuq.pipeline.posteriors import evaluated, load_posterior
from genuq.pipeline.run import MAIN_POSTERIOR, Run
from genuq.pipeline.sharded import deal
from genuq.pipeline.shared_scores import ResourceInputs, functions_of, path_inputs, resource_inputs
from genuq.pipeline.stage import Stage, upstream
from genuq.pipeline.stages.pilot import pilot_upstream, settled
from genuq.posteriors import Posterior
from genuq.scores import SCORES, Resources, regenerate
from genuq.store.artefact import StageFolder
from genuq.store.shards import Columns, Shards, shard_name
from genuq.store.upstream import Upstream

PATHS = "path"  # folder within the artefact


@dataclass(frozen=True)
class SampleInputs:
    """What samples depend on.

    Attributes:
        draws: of each posterior, by the name of its draws.
        weight_controls: that draw weights in the main posterior's place.
        noise_controls: that start from other initial noise.
        watched: the baselines along the trajectory.
        on_path: the scores of the path, which share what they ask for.
        resources: that those ask for.
        keep_path: whether the samplers' paths are kept.
        maps: whether the maps of those that leave one are kept.
        idle: the posteriors under whose draws no score asks for the samples anew.
        pilot: that chose the setting of the run's score, where it is one of the path.
    """

    model: ModelInputs
    fit: Upstream
    sampler: SamplerInputs
    draws: Mapping[str, int]
    weight_controls: Mapping[str, PartInputs]
    noise_controls: Mapping[str, PartInputs]
    watched: Mapping[str, PartInputs]
    on_path: Mapping[str, PartInputs] = where_given(default_factory=dict)
    resources: ResourceInputs | None = where_given(None)
    keep_path: bool = where_given(False)
    maps: bool = where_given(False)
    idle: tuple[str, ...] = where_given(())
    pilot: Upstream | None = where_given(None)

    def draws_of(self, name: str) -> int:
        """M of a posterior, or of a control, which has as many as the main posterior."""
        return self.draws.get(name, self.draws[MAIN_POSTERIOR])


class Sample(Stage[SampleInputs]):
    """Leaves shard-START-STOP.safetensors: index, class (-1 for none), image, draws, those of the other posteriors by
    their names (of each that a score is of), and the resampling controls; the scores of the trajectories; and the
    network evaluations that were counted for each of these.

    Images are float32 (B, C, H, W) in [-1, 1], points (B, D). Draws and controls (B, M, ...) are stored as float16
    deviations from them: most are smaller than a grey level, and would be lost in uint8.

    Where the paths are kept, path/shard-START-STOP.safetensors has them; see `PathRecorder.tensors`.
    """

    name = "sample"
    version = 3
    shared = together = True

    def inputs(self, run: Run) -> SampleInputs:
        return SampleInputs(
            model=model_inputs(run),
            fit=upstream(run, "fit"),
            sampler=sampler_inputs(run),
            draws={name: posterior["draws"] for name, posterior in run.posteriors().items()},
            weight_controls=inputs_of_source(run, "weights"),
            noise_controls=inputs_of_source(run, "initial_noise"),
            watched=watched_inputs(run),
            on_path=path_inputs(run),
            resources=resource_inputs(run, "path") if path_inputs(run) else None,
            keep_path=run.config.sampler.keep_path,
            maps=bool(leaving_maps(run, "path")),
            idle=tuple(name for name in run.posteriors() if name not in regenerated(run)),
            pilot=pilot_upstream(run, "path"),
        )

    def work(self, inputs: SampleInputs, folder: StageFolder, display: Display) -> Mapping[str, Any]:
        trained, inputs = inputs.model.open(), replace(inputs, on_path=settled(inputs.on_path, inputs.pilot))
        drawn = {name: load_posterior(inputs.fit.path, trained, name) for name in inputs.draws}
        for name, control in inputs.weight_controls.items():
            drawn[name] = SCORES.get(name).make(drawn[MAIN_POSTERIOR], trained.network, **control.options)
        resources, paths = None, folder.path / PATHS
        if inputs.resources is not None:
            resources = inputs.resources.open(trained, lambda: drawn[MAIN_POSTERIOR], inputs.sampler.seed)
        others = [] if resources is None else resources.posteriors.values()
        model = evaluated(inputs.sampler.engine, trained, [*drawn.values(), *others])
        sampler = inputs.sampler.build(model)
        making = {name: posterior for name, posterior in drawn.items() if name not in inputs.idle}
        passes = 1 + sum(inputs.draws_of(name) for name in (*making, *inputs.noise_controls))
        seconds = dict.fromkeys(("unperturbed", *making), 0.0)
        of_scores = dict.fromkeys((*inputs.watched, *inputs.on_path, *inputs.noise_controls), 0.0)

        def make(indices: list[int], advance: Callable[[int], None]) -> dict[str, Tensor]:
            return sample_shard(inputs, model, making, indices, advance, seconds, of_scores, resources, paths)

        made = deal(inputs.sampler, folder, make, display, "sampling", passes)
        of_all, of_scores = collectives.totals(seconds), collectives.totals(of_scores)
        return {  # the cost is that of the samples made now: an interrupted run left no times
            "seconds_per_sample": {key: value / max(1, made) for key, value in of_all.items()},
            **score_seconds({key: value / max(1, made) for key, value in of_scores.items()}),
            "evaluations_per_sample": sampler.evaluations(model),
            "relative_perturbation": {name: posterior.relative_perturbation() for name, posterior in drawn.items()},
            **inputs.sampler.engine.notes,
        }


def draws_of(run: Run, name: str) -> int:
    """M of a posterior, or of a control, which has as many as the main posterior."""
    settings = run.posteriors()
    return settings.get(name, settings[MAIN_POSTERIOR])["draws"]


def sample_shard(
    inputs: SampleInputs,
    model: GenerativeModel,
    drawn: Mapping[str, Posterior],
    indices: Sequence[int],
    advance: Callable[[int], None],
    seconds: dict[str, float],
    of_scores: dict[str, float],
    resources: Resources | None,
    paths: Path,
) -> dict[str, Tensor]:
    """All versions of the samples `indices`; adds the seconds of each to `seconds`, and those of what watches the
    sampler or starts it anew to `of_scores`. The sampler's path is written into `paths` where it is kept.
    """
    sampler = inputs.sampler.build(model)
    classes = sampler.classes_of(model, indices)
    started = time.perf_counter()
    on_path, keep = functions_of(inputs.on_path), inputs.keep_path
    unperturbed, record = watched(model, sampler, indices, inputs.watched, advance, on_path, resources, keep)
    seconds["unperturbed"] += time.perf_counter() - started
    if keep:
        files.write_tensors(paths / shard_name(indices[0], indices[-1] + 1), record.path)
    versions = {}
    with metered(model) as meter:
        for name, posterior in drawn.items():
            started = time.perf_counter()
            with meter.charging(name):
                draws = inputs.draws_of(name)
                versions[name] = regenerate(model, posterior, sampler, indices, draws, sampler.seed, advance)
            seconds[name] += time.perf_counter() - started
        for name, control in inputs.noise_controls.items():
            with meter.charging(name):
                versions[name] = restarted(model, sampler, indices, control, inputs.draws_of(name), advance)
    spent = {name: value * len(indices) for name, value in record.seconds.items()}
    for name, value in {**spent, **{name: meter.seconds[name] for name in inputs.noise_controls}}.items():
        of_scores[name] += value
    return {
        "index": torch.tensor(indices),
        "class": torch.full((len(indices),), -1) if classes is None else classes,
        **unperturbed,
        **maps_of(record.maps, inputs.maps),
        **evaluation_counts(meter.per_sample(len(indices)), len(indices)),
        **{name: (tensor - unperturbed["image"][:, None]).half() for name, tensor in versions.items()},
    }


def restarted(
    model: GenerativeModel,
    sampler: Sampler,
    indices: Sequence[int],
    control: PartInputs,
    draws: int,
    advance: Callable[[int], None],
) -> Tensor:
    """The samples from the initial noise that a control gives them, with the trained weights, (B, M, ...)."""
    noise, key = sampler.initial_noise(model, indices), {"seed": sampler.seed, "indices": indices}
    make = partial(SCORES.get(control.name).make, noise, **key, **control.options)
    starts = [make(draw=m) for m in range(draws)]
    return torch.stack([sample(model, sampler, indices, start, advance) for start in starts], dim=1)


class SampleColumns(Columns):
    """Columns of a finished sample stage; draws and controls as the samples that they are, float32."""

    def read(self, stored: str) -> Tensor:
        column = super().read(stored)
        return restored(super().read("image"), column) if is_deviation(stored) else column


def read_samples(folder: Path) -> Columns:
    """The columns of a finished sample stage in the order of the samples' indices, each read when it is asked for."""
    found = Shards(folder)
    return SampleColumns(found, {name: name for name in found.names})


class DrawnRows:
    """The samples anew under the run's own draws, as a person sees them, (N, M, ...): read a few rows at a time.

    M is 0 where no score asked for them.
    """

    def __init__(self, folder: Path, are_images: bool) -> None:
        self.shards, self.are_images = Shards(folder), are_images

    @property
    def shape(self) -> tuple[int, ...]:
        none = self[[]]
        return (len(self.shards), *none.shape[1:])

    def __getitem__(self, chosen: Sequence[int]) -> Tensor:
        images = self.shards.rows("image", chosen)
        if MAIN_POSTERIOR not in self.shards.names:
            return shown(images[:, None][:, :0], self.are_images)
        return shown(restored(images, self.shards.rows(MAIN_POSTERIOR, chosen)), self.are_images)


def with_deviations(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Draws and controls as the samples that they are, instead of their deviations from the unperturbed ones."""
    return {
        name: restored(stored["image"], column) if is_deviation(name) else column for name, column in stored.items()
    }


def is_deviation(name: str) -> bool:
    """Whether a column holds samples as deviations from the unperturbed ones."""
    return is_version(name) and name != "image"


def restored(image: Tensor, deviations: Tensor) -> Tensor:
    """The samples (N, M, ...) that deviate so from the unperturbed ones (N, ...)."""
    return image[:, None] + deviations.float()


def shown(samples: Tensor, are_images: bool) -> Tensor:
    """Samples as a person sees them: uint8 images, or points."""
    return to_bytes(samples) if are_images else samples
