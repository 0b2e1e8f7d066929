"""The stage that embeds: samples and draws in the likelihood's space; samples and real images in the judge's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genuq import data, files
from genuq.data import Dataset
from genuq.display import Display
from genuq.extractors.judge import Judge
from genuq.identity import identity_of, neutral, where_given
from genuq.metrics.reference_sets import ReferenceFeatures, drawn_rows, open_reference
from genuq.models import to_bytes, to_unit
from genuq.parallel import collectives
from genuq.pipeline.columns import inputs_of_source, is_version, regenerated
from genuq.pipeline.configured import data_inputs, sampler_inputs
from genuq.pipeline.configured_judging import judge_inputs, likelihood_inputs, prompt_inputs, reference_inputs
from genuq.pipeline.inputs import DataInputs, PartInputs, SamplerInputs
from genuq.pipeline.judging import JudgeInputs, LikelihoodInputs, PromptInputs
from genuq.pipeline.run import Run
from genuq.pipeline.sharded import deal
from genuq.pipeline.stage import Stage, upstream
from genuq.pipeline.stages.sample import shown, with_deviations
from genuq.scores import SCORES
from genuq.store.artefact import StageFolder
from genuq.store.cached import held
from genuq.store.shards import Columns, Shards, shard_name
from genuq.store.upstream import FileContent, Upstream

REAL, REAL_VERSION = "real.safetensors", 1
JUDGED = "judge."  # prefix of a column of the judge's features
SHOWING = "clip.image"  # column of what a CLIP sees in the samples


@dataclass(frozen=True)
class EmbedInputs:
    """What embeddings depend on.

    Attributes:
        data: the test images that the judge compares with.
        reference_images: how many of them, a seeded subset.
        posteriors: names of the draws that are judged.
        noised: the controls that change finished images.
        draws: M of these; None where there are none.
        batch_size: images at a time.
        device: of the likelihood's encoder.
        prompts: what says how well samples show their prompts.
        reference: file or folder of others, in place of the test images.
    """

    seed: int
    sample: Upstream
    data: DataInputs
    likelihood: LikelihoodInputs
    judge: JudgeInputs
    reference_images: int
    posteriors: tuple[str, ...]
    noised: Mapping[str, PartInputs]
    draws: int | None
    sampler: SamplerInputs = neutral()  # whose shards are read: those of `sample`
    batch_size: int = neutral()
    device: torch.device = neutral()
    prompts: PromptInputs | None = where_given(None)
    reference: FileContent | None = where_given(None)

    @property
    def are_images(self) -> bool:
        return len(self.likelihood.shape) == 3


class Embed(Stage[EmbedInputs]):
    """Leaves shard-START-STOP.safetensors, with the embeddings of the samples, of every posterior's draws and of the
    controls, and the judge's features of the samples and the draws; and real.safetensors, its features of real images.

    Where a CLIP says how well samples show their prompts, the shards have its embeddings of the samples as well.
    """

    name = "embed"
    version = 4
    shared = together = True

    def inputs(self, run: Run) -> EmbedInputs:
        noised = inputs_of_source(run, "noised_image")
        return EmbedInputs(
            seed=run.config.seed,
            sample=upstream(run, "sample"),
            data=data_inputs(run, "test"),
            likelihood=likelihood_inputs(run),
            judge=judge_inputs(run),
            reference_images=run.config.metric.reference_images,
            posteriors=regenerated(run),
            noised=noised,
            draws=run.config.posterior.draws if noised else None,
            sampler=sampler_inputs(run),
            batch_size=run.config.likelihood.batch_size,
            device=run.device,
            prompts=prompt_inputs(run),
            reference=reference_inputs(run),
        )

    def work(self, inputs: EmbedInputs, folder: StageFolder, display: Display) -> Mapping[str, Any]:
        real = folder.path / REAL
        if collectives.is_first_process() and not real.exists():
            hold_real(inputs, real, display)

        def make(indices: list[int], advance: Callable[[int], None]) -> dict[str, Tensor]:
            tensors = embed_shard(inputs, inputs.sample.path / shard_name(indices[0], indices[-1] + 1))
            advance(len(indices))
            return tensors

        deal(inputs.sampler, folder, make, display, "embedding")
        return {"likelihood": inputs.likelihood.build().name, "judge": inputs.judge.open().name}


def hold_real(inputs: EmbedInputs, place: Path, display: Display) -> None:
    """Put the judge's features of real images at `place`; those that another run of the store had made, if there are.

    Runs share them that compare with the same images by the same judge: whatever they sample, and with any seed where
    all images are compared with.
    """
    count = len(inputs.data.test) if inputs.reference is None else open_reference(inputs.reference.path).count
    whole = inputs.reference_images >= count
    identity = {
        "version": REAL_VERSION,
        "data": identity_of(inputs.data) if inputs.reference is None else inputs.reference.identity,
        "judge": identity_of(inputs.judge),
        "rows": None if whole else [inputs.reference_images, inputs.seed],
    }
    held(
        place.parents[2],
        identity,
        place,
        lambda path: files.write_tensors(path, {"real": real_features(inputs, display)}),
        lambda: display.say("embed: another run embeds the same real images; waiting"),
    )


def real_features(inputs: EmbedInputs, display: Display) -> Tensor:
    """(R, D), the judge's features of what the metrics compare with: test images, or the reference of others."""
    if inputs.reference is None:
        images = reference_images(inputs.data.test, inputs.reference_images, inputs.seed)
        with display.bar("embedding real images", len(images)) as advance:
            return inputs.judge.open().embed(images, batch_size=256, progress=advance)
    reference = open_reference(inputs.reference.path)
    rows = drawn_rows(reference.count, inputs.reference_images, inputs.seed)
    if isinstance(reference, ReferenceFeatures):
        return reference.read(rows)
    with display.bar("embedding the reference", len(rows)) as advance:
        embed = inputs.judge.open().embed
        return torch.cat([embed(batch, batch_size=256, progress=advance) for batch in reference.batches(rows, 256)])


def embed_shard(inputs: EmbedInputs, samples_path: Path) -> dict[str, Tensor]:
    """The embeddings of a shard of samples, and the judge's features of it under names of their own."""
    samples = with_deviations(files.read_tensors(samples_path)[0])
    likelihood, judge = inputs.likelihood.build(), inputs.judge.open()
    versions = versions_to_score(inputs, samples)
    embedded = {
        name: likelihood.embed(tensor, batch_size=inputs.batch_size, device=inputs.device)
        for name, tensor in versions.items()
    }
    judged = {
        f"{JUDGED}{name}": features_of(judge, samples[name], inputs.are_images)
        for name in ("image", *inputs.posteriors)
    }
    if inputs.prompts is not None:
        judged[SHOWING] = inputs.prompts.of_images(shown(samples["image"], inputs.are_images))
    return embedded | judged


def features_of(judge: Judge, samples: Tensor, are_images: bool) -> Tensor:
    """What the judge sees in samples (N, ...), or in draws (N, M, ...) of them: (N, D) or (N, M, D)."""
    drawn = samples.dim() == (5 if are_images else 3)
    features = judge.embed(shown(samples.flatten(0, 1) if drawn else samples, are_images), batch_size=256)
    return features.reshape(*samples.shape[:2], -1) if drawn else features


def read_embeddings(folder: Path) -> Columns:
    """The finished stage's embeddings: `image` (N, D), and (N, M, D) for each set of draws and each control."""
    stored = Shards(folder)
    return Columns(stored, {name: name for name in stored.names if not name.startswith((JUDGED, SHOWING))})


def read_judged(folder: Path) -> Columns:
    """The judge's features of `image` (N, D), of every posterior's draws (N, M, D), and of `real` images (R, D)."""
    stored, real = Shards(folder), files.read_tensors(folder / REAL)[0]
    return Columns(stored, {name.removeprefix(JUDGED): name for name in stored.names if name.startswith(JUDGED)}, real)


def read_clip_score(folder: Path, prompts: PromptInputs, classes_N: Tensor) -> Tensor:
    """CLIP score (N,) of the samples and their prompts, of the finished stage's embeddings."""
    return prompts.score(Shards(folder).read(SHOWING), classes_N)


def versions_to_score(inputs: EmbedInputs, samples: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the likelihood embeds: `image` (N, ...), and the draws and controls (N, M, ...)."""
    versions = {
        name: to_unit(tensor) if inputs.are_images else tensor for name, tensor in samples.items() if is_version(name)
    }
    given = {"draws": inputs.draws, "seed": inputs.seed, "indices": samples["index"].tolist()}
    for name, control in inputs.noised.items():
        versions[name] = SCORES.get(name).make(versions["image"], **given, **control.options)
    return versions


def reference_images(test_set: Dataset, count: int, seed: int) -> Tensor:
    """A seeded subset of the real test set, as a person sees it."""
    chosen = data.subset(test_set, min(count, len(test_set)), seed)
    items, _ = chosen.batch(range(len(chosen)))
    return to_bytes(items) if len(test_set.shape) == 3 else items
