"""The stage that probes: finished samples are noised again, and all scores of that share what the networks see."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from genuq import files
from genuq.display import Display
from genuq.identity import where_given
from genuq.models import GenerativeModel
from genuq.parallel import collectives
from genuq.pipeline.columns import WATCHED, evaluation_counts, leaving_maps, maps_of, score_seconds
from genuq.pipeline.configured import model_inputs, sampler_inputs
from genuq.pipeline.inputs import ModelInputs, PartInputs, SamplerInputs
from genuq.pipeline.posteriors import evaluated, load_posterior
from genuq.pipeline.run import Run
from genuq.pipeline.sharded import deal
from genuq.pipeline.shared_scores import ResourceInputs, functions_of, probe_inputs, resource_inputs
from genuq.pipeline.stage import Stage, upstream
from genuq.pipeline.stages.pilot import pilot_upstream, settled
from genuq.scores import Probe, Resources, score_together
from genuq.scores.shared import SharedScores
from genuq.store.artefact import StageFolder
from genuq.store.shards import read_shards, shard_name
from genuq.store.upstream import Upstream

ALL = "all probe scores"  # what evaluations of the scores of the probe are counted under, each of them once


@dataclass(frozen=True)
class ProbeInputs:
    """What scores of finished samples depend on.

    Attributes:
        scores: of the probe, by name.
        resources: that they ask for.
        maps: whether the maps of those that leave one are kept.
        pilot: that chose the setting of the run's score, where it is one of the probe.
    """

    model: ModelInputs
    fit: Upstream
    sample: Upstream
    sampler: SamplerInputs
    scores: Mapping[str, PartInputs]
    resources: ResourceInputs
    maps: bool = where_given(False)
    pilot: Upstream | None = where_given(None)


class ProbeSamples(Stage[ProbeInputs]):
    """Leaves shard-START-STOP.safetensors: index, the scores, the network evaluations that each of them would take
    alone, and those of all of them together; with `score.maps` the maps of disagreements. Without such a score it does
    nothing and leaves nothing.
    """

    name = "probe"
    version = 1
    shared = together = True

    def inputs(self, run: Run) -> ProbeInputs:
        return ProbeInputs(
            model=model_inputs(run),
            fit=upstream(run, "fit"),
            sample=upstream(run, "sample"),
            sampler=sampler_inputs(run),
            scores=probe_inputs(run),
            resources=resource_inputs(run, "probe"),
            maps=bool(leaving_maps(run, "probe")),
            pilot=pilot_upstream(run, "probe"),
        )

    def applies(self, run: Run) -> bool:
        return bool(probe_inputs(run))

    def work(self, inputs: ProbeInputs, folder: StageFolder, display: Display) -> Mapping[str, Any]:
        trained, inputs = inputs.model.open(), replace(inputs, scores=settled(inputs.scores, inputs.pilot))
        load = partial(load_posterior, inputs.fit.path, trained)
        resources = inputs.resources.open(trained, load, inputs.sampler.seed)
        model = evaluated(inputs.sampler.engine, trained, resources.posteriors.values())
        seconds = dict.fromkeys(inputs.scores, 0.0)

        def make(indices: list[int], advance: Callable[[int], None]) -> dict[str, Tensor]:
            tensors = probe_shard(inputs, model, resources, indices, seconds)
            advance(len(indices))
            return tensors

        made = deal(inputs.sampler, folder, make, display, "probing")
        of_all = collectives.totals(seconds)
        per_sample = {name: value / max(1, made) for name, value in of_all.items()}
        return {**score_seconds(per_sample), **inputs.sampler.engine.notes}


def probe_shard(
    inputs: ProbeInputs, model: GenerativeModel, resources: Resources, indices: list[int], seconds: dict[str, float]
) -> dict[str, Tensor]:
    """Scores and costs of the samples `indices`; adds the seconds of each score to `seconds`."""
    samples = files.read_tensors(inputs.sample.path / shard_name(indices[0], indices[-1] + 1))[0]
    classes = samples["class"] if model.num_classes else None
    probe = Probe(model, samples["image"], indices, inputs.sampler.seed, classes, resources)
    found = score_together(probe, functions_of(inputs.scores))
    for name, cost in found.costs.items():
        seconds[name] += cost.seconds
    return {"index": torch.tensor(indices), **columns_of(found, len(indices)), **maps_of(found.maps, inputs.maps)}


def columns_of(found: SharedScores, count: int) -> dict[str, Tensor]:
    """Scores of `count` samples as columns, with the evaluations of one sample that each and all together took."""
    spent = {ALL: found.evaluations, **{name: cost.evaluations for name, cost in found.costs.items()}}
    scores = {f"{WATCHED}{name}": values for name, values in found.values.items()}
    return scores | evaluation_counts({name: rows / count for name, rows in spent.items()}, count)


def read_probed(probe: Upstream | None) -> dict[str, Tensor]:
    """The columns of the finished stage; none where the run has no such score."""
    return {} if probe is None else read_shards(probe.path)


def probe_upstream(run: Run) -> Upstream | None:
    """The artefact of the probe; None where the run has no such score."""
    return upstream(run, ProbeSamples.name) if probe_inputs(run) else None
