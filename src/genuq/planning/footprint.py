"""Bytes that the artefacts of a run will take, from the shapes of what they hold."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from genuq import posteriors
from genuq.errors import has_numbers
from genuq.models import GenerativeModel, head_candidates, with_filled_head
from genuq.networks import Classifier
from genuq.pipeline.columns import (
    MAPPED,
    SPENT,
    WATCHED,
    leaving_maps,
    of_source,
    regenerated,
    score_columns,
    watched_inputs,
)
from genuq.pipeline.configured import (
    architecture_of,
    build_sampler,
    description_of,
    reference_name,
    sampler_inputs,
    training_set,
    untrained_model,
)
from genuq.pipeline.configured_judging import build_likelihood, open_judge, reference_count
from genuq.pipeline.posteriors import of_members, size_source
from genuq.pipeline.shared_scores import path_inputs, probe_inputs
from genuq.pipeline.stages.embed import JUDGED
from genuq.pipeline.stages.members import member_settings
from genuq.pipeline.stages.pilot import settings_of
from genuq.pipeline.stages.probe import ALL
from genuq.pipeline.stages.sample import draws_of
from genuq.planning.planned import PlannedRun
from genuq.posteriors import PosthocEnsemble
from genuq.posteriors.low_rank import weight_name
from genuq.scores.baselines.watching import PATH
from genuq.training.member_settings import MemberSettings

Shapes = dict[str, tuple[str, tuple[int, ...]]]  # of tensors: safetensors' name of the type, and the shape
WIDTHS = {"F64": 8, "I64": 8, "F32": 4, "F16": 2, "BF16": 2, "I32": 4, "I8": 1, "U8": 1, "BOOL": 1}
NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
PER_TENSOR = 310  # bytes that a checkpoint of a training adds to each tensor: names, alignment, the archive's directory
MANIFEST = 450  # bytes of a manifest beside what the artefact was made from: versions, times, the lines of one file
PER_FILE = 180
EVIDENCE = 23_500  # the curve of the prior precision, 400 points
NUMBER = 27  # bytes of a number in a JSON file, with its line
PILOT, SETTING = 900, 480  # bytes of a pilot's record, and of each setting in it
METADATA = {"fingerprint": "0" * 64}  # of a shard
JUDGED_COLUMNS = 8  # of a sample, beside its scores: index, class, and what the judge says


def of_safetensors(shapes: Shapes, metadata: Mapping[str, str] | None = None) -> int:
    """The file that holds tensors of these types and shapes."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    place = 0
    for name, (kind, shape) in sorted(shapes.items(), key=lambda item: (-WIDTHS[item[1][0]], item[0])):
        end = place + WIDTHS[kind] * prod(shape)
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [place, end]}
        place = end
    return 8 + -(-len(json.dumps(header, separators=(",", ":"))) // 8) * 8 + place


def shapes_of(tensors: Mapping[str, Tensor], kind: str | None = None) -> Shapes:
    """Types and shapes of tensors; `kind` in place of the type of those that are floating."""
    return {
        name: (kind if kind and tensor.is_floating_point() else NAMES[tensor.dtype], tuple(tensor.shape))
        for name, tensor in tensors.items()
    }


def of_manifest(identity: Mapping[str, Any], files: int, notes: int = 200) -> int:
    return len(json.dumps(identity, indent=2, default=str)) + MANIFEST + notes + PER_FILE * files


def shard_sizes(run: PlannedRun) -> list[int]:
    """How many samples each shard holds."""
    total, size = run.config.sampler.samples, run.config.sampler.batch_size
    return [min(size, total - start) for start in range(0, total, size)]


def of_shards(run: PlannedRun, shapes: Mapping[str, tuple[str, tuple[int, ...]]], metadata: Any = None) -> int:
    """All shards, given types and shapes of one sample's row in each tensor."""
    sizes = shard_sizes(run)
    return sum(
        sizes.count(size) * of_safetensors({n: (kind, (size, *row)) for n, (kind, row) in shapes.items()}, metadata)
        for size in set(sizes)
    )


def versions(run: PlannedRun) -> dict[str, int]:
    """M of every set of versions that the sampler makes beside the unperturbed samples, by name."""
    names = [*regenerated(run), *of_source(run, "weights"), *of_source(run, "initial_noise")]
    return {name: draws_of(run, name) for name in names}


def of_samples(run: PlannedRun) -> int:
    path, shape = list(path_inputs(run)), tuple(training_set(run).shape)
    watched = [*watched_inputs(run), *path]
    spent = ("sampling", *watched, *([PATH] if path else []), *versions(run))
    return of_shards(
        run,
        {
            "index": ("I64", ()),
            "class": ("I64", ()),
            "image": ("F32", shape),
            **{f"{WATCHED}{name}": ("F64", ()) for name in watched},
            **{f"{SPENT}{name}": ("F64", ()) for name in spent},
            **{name: ("F16", (draws, *shape)) for name, draws in versions(run).items()},
            **_maps(run, "path"),
        },
        METADATA,
    )


def of_pilot(run: PlannedRun) -> int:
    """Of pilot.json: by a rule, what one setting takes in it."""
    return PILOT + SETTING * (1 + len(settings_of(run)))


def of_paths(run: PlannedRun) -> int:
    """Of the samplers' paths, where they are kept: the states of all steps and the answers there."""
    if not run.config.sampler.keep_path:
        return 0
    model, guides = untrained_model(run), sampler_inputs(run).guidance_scale != 1.0
    steps = sum(not stage.intermediate for stage in build_sampler(run).stages(model))
    kept = ("states", "asked", *(("null",) if guides else ()))
    shape = (steps, *model.latent_shape)
    return of_shards(run, {**{name: ("F32", shape) for name in kept}, "times": ("F64", (steps,))})


def of_probe(run: PlannedRun) -> int:
    names = list(probe_inputs(run))
    columns = [*(f"{WATCHED}{name}" for name in names), *(f"{SPENT}{name}" for name in (*names, ALL))]
    shapes = {"index": ("I64", ()), **{name: ("F64", ()) for name in columns}, **_maps(run, "probe")}
    return of_shards(run, shapes, METADATA)


def _maps(run: PlannedRun, source: str) -> Shapes:
    """Of the scores of one source that leave one, each of its samples' size."""
    return {f"{MAPPED}{name}": ("F32", tuple(training_set(run).shape[1:])) for name in leaving_maps(run, source)}


def of_propagation(run: PlannedRun) -> int:
    latents, shape = tuple(untrained_model(run).latent_shape), tuple(training_set(run).shape)
    shapes = {
        "index": ("I64", ()),
        "mean": ("F32", latents),
        "variance": ("F64", latents),
        "evaluations": ("F64", ()),
        "map": ("F32", shape),
    }
    return of_shards(run, shapes, METADATA)


def embedded(run: PlannedRun) -> dict[str, int]:
    """How many images of each sample the likelihood embeds, by the name of their set."""
    noise = dict.fromkeys(of_source(run, "noised_image"), run.config.posterior.draws)
    return versions(run) | noise


def judge_dimension(run: PlannedRun) -> int:
    """D of the judge; a classifier that is still to be trained has its architecture's."""
    if run.config.metric.extractor == "classifier" and "judge" in run.config.stages:
        return int(classifier(run).logits.in_features)
    return open_judge(run).dimension


def classifier(run: PlannedRun) -> Classifier:
    return Classifier(tuple(training_set(run).shape), training_set(run).num_classes)


def of_embeddings(run: PlannedRun) -> int:
    scored, judged = build_likelihood(run).dimension, judge_dimension(run)
    shapes: Shapes = {"image": ("F32", (scored,)), f"{JUDGED}image": ("F32", (judged,))}
    shapes |= {name: ("F32", (draws, scored)) for name, draws in embedded(run).items()}
    shapes |= {f"{JUDGED}{name}": ("F32", (draws_of(run, name), judged)) for name in regenerated(run)}
    return of_shards(run, shapes, METADATA) + of_safetensors({"real": ("F32", (reference_count(run), judged))})


def of_scores(run: PlannedRun) -> int:
    return of_safetensors({name: ("F64", (run.config.sampler.samples,)) for name in score_columns(run)})


def of_evaluation(run: PlannedRun) -> int:
    """By a rule: a row of the table for each sample, twice, and curves, bins and intervals of each score."""
    metric, columns = run.config.metric, len(score_columns(run))
    rows = run.config.sampler.samples * ((columns + 9) * NUMBER + (columns + JUDGED_COLUMNS) * 8)
    real = of_real_statistics(run)
    return 1500 + real + rows + columns * (4000 + 5 * NUMBER * (7 * len(metric.fractions) + 4 * metric.bins))


def of_real_statistics(run: PlannedRun) -> int:
    """Mean, covariance and radii of the real features, which evaluations of a store share."""
    dimension = judge_dimension(run)
    gaussian: Shapes = {"mean_D": ("F64", (dimension,)), "covariance_DD": ("F64", (dimension, dimension))}
    radii: Shapes = {"radii_R": ("F64", (reference_count(run),))}
    return of_safetensors(radii) + (0 if run.config.metric.statistics else of_safetensors(gaussian))


def of_report(run: PlannedRun) -> int:
    """By a rule: page and plots grow with the scores; the evaluation is there again, and its table."""
    columns = len(score_columns(run))
    table = 15 * run.config.sampler.samples * columns
    return 250_000 + 140_000 * columns + round(1.3 * (of_evaluation(run) - of_real_statistics(run))) + table


def of_weights(module: nn.Module, metadata: int = 2000) -> int:
    """A checkpoint of ours, in float16."""
    kept = {k: v for k, v in module.state_dict().items() if not k.startswith("autoencoder.autoencoder.")}
    return of_safetensors(shapes_of(kept, "F16"), {"notes": " " * metadata})


def of_training(held: Sequence[nn.Module], trained: nn.Module, steps: int, every: int) -> int:
    """The checkpoints of a training, which are there only while it goes on; a new one is written beside the last.

    Weights of what the training holds, two moments and a count of what it trains.
    """
    if steps < every:
        return 0
    state = [tensor for module in held for tensor in module.state_dict().values()]
    learnt = [parameter for parameter in trained.parameters() if parameter.requires_grad]
    bytes_held = sum(tensor.numel() * tensor.element_size() for tensor in state)
    moments = sum(2 * parameter.numel() * parameter.element_size() + 4 for parameter in learnt)
    whole = bytes_held + moments + PER_TENSOR * (len(state) + 3 * len(learnt)) + 2000
    return whole * min(2, steps // every)


# Posteriors


def of_posterior(run: PlannedRun, name: str) -> tuple[int, int]:
    """(bytes of a fitted posterior with the members made for it, bytes that are there only while it is fitted)."""
    entry = run.posteriors()[name]
    if of_members(entry):
        return of_members_posterior(run, entry)
    return _of_curvature(run, entry)


def _of_curvature(run: PlannedRun, entry: Mapping[str, Any]) -> tuple[int, int]:
    model = architecture_of(run)
    own, bins = posteriors.POSTERIORS[entry["name"]].option_names, entry.get("time_bins", 1)
    options = {key: entry[key] for key in own if entry[key] is not None}
    if entry["name"] == "mc_dropout" and not options:
        options = {"layers": ["head"], "rate": 0.5}  # keeps names and rates alone
    key = ["posterior shapes", description_of(run), entry["name"], options]
    shapes: Shapes = run.memory(key, lambda: _posterior_shapes(model, entry["name"], options))
    size = of_safetensors(shapes, {"kind": " " * 600})
    streamed = posteriors.POSTERIORS[entry["name"]].source == "images" and size_source(entry) is None
    head = posteriors.POSTERIORS[entry["name"]].scope == "head"
    inputs = model.head.weight[0].numel() + (model.head.bias is not None)  # type: ignore[index]
    held_out = 8 * inputs**2 * bins if head else 0
    return size, (size * bins + held_out) if streamed else 0


def _posterior_shapes(model: GenerativeModel, name: str, options: Mapping[str, Any]) -> Shapes:
    return shapes_of(empty_tensors(model, name, options))


def empty_tensors(model: GenerativeModel, name: str, options: Mapping[str, Any]) -> dict[str, Tensor]:
    """What the file of a posterior over this model holds, without numbers where a whole network has none."""
    if has_numbers(next(model.network.parameters())):
        return _tensors_of(posteriors.build(name, model, **options))
    if posteriors.POSTERIORS.get(name).scope == "head":  # a small layer, whose posteriors look at numbers
        return _tensors_of(posteriors.build(name, with_filled_head(model), **options))
    copied = copy.deepcopy(model)
    with FakeTensorMode():
        for layer in copied.modules():
            for key, weight in layer.named_parameters(recurse=False):
                setattr(layer, key, nn.Parameter(torch.empty(weight.shape, dtype=weight.dtype), weight.requires_grad))
        return _tensors_of(posteriors.build(name, copied, **options))


def _tensors_of(empty: posteriors.Posterior) -> dict[str, Tensor]:
    return {**empty.constants(), **empty.sums()}


def of_members_posterior(run: PlannedRun, entry: Mapping[str, Any]) -> tuple[int, int]:
    settings = member_settings(run, entry)
    given = settings.given(reference_name(run))
    network = architecture_of(run).network
    if given:
        return _of_given(settings, network, given), 0
    one = of_safetensors(_member_shapes(settings, network), {"kind": " " * 600})
    averaged = [network] if settings.kind == "deep_ensemble" else []
    held = [architecture_of(run), *averaged]
    training = of_training(held, network, settings.steps, settings.hardware.checkpoint_every)
    if settings.kind == "swag":
        return 2 * one, training + one
    if settings.kind == "ivon":
        return 2 * one, training
    kept = of_weights(architecture_of(run), 300) if settings.kind == "deep_ensemble" else one
    return settings.members * (kept + one), training


def _member_shapes(settings: MemberSettings, network: nn.Module) -> Shapes:
    """What a posterior file keeps of one member; of swag and ivon, their sums."""
    trained = dict(network.named_parameters())
    if settings.kind in ("swag", "ivon"):
        sums: Shapes = {
            f"{part}/{n}": ("F64", tuple(v.shape)) for part in ("first", "second") for n, v in trained.items()
        }
        if settings.kind == "ivon":
            return sums
        kept = min(settings.rank or 10, settings.members)
        return sums | {f"last/{name}": ("F32", (kept, *value.shape)) for name, value in trained.items()}
    entries: dict[str, tuple[int, ...]] = {name: tuple(value.shape) for name, value in trained.items()}
    if settings.kind == "posthoc_ensemble" and settings.rank is not None:
        entries = {}
        for name in map(weight_name, head_candidates(network)):
            outputs, inputs = trained[name].flatten(1).shape
            rank = min(settings.rank, outputs, inputs)
            entries |= {f"{name} up": (outputs, rank), f"{name} down": (rank, inputs)}
    bits = 16 if settings.kind == "deep_ensemble" else settings.bits
    kind = {8: "I8", 16: "F16", 32: "F32" if settings.rank is None else "F64"}[bits]
    return {"0 scales": ("F64", (len(entries),)), **{f"0/{name}": (kind, shape) for name, shape in entries.items()}}


def _of_given(settings: MemberSettings, network: nn.Module, given: Sequence[Path]) -> int:
    """Members that lie in files already: what the posterior takes of them."""
    if settings.kind == "deep_ensemble":
        return len(given) * of_safetensors(_member_shapes(settings, network), None)
    assert settings.kind == PosthocEnsemble.kind
    return sum(_stored(path) for path in given)


def _stored(path: Path) -> int:
    with safe_open(str(path), framework="pt") as file:
        slices = [file.get_slice(name) for name in file.keys()]  # noqa: SIM118
        return sum(WIDTHS[part.get_dtype()] * prod(part.get_shape()) + 100 for part in slices)
