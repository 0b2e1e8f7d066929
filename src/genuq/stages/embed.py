"""The stage that embeds: samples and draws in the likelihood's space; samples and real images in the judge's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from genuq import data, files
from genuq.models import to_bytes, to_unit
from genuq.scores import direct_noise
from genuq.stages.artefacts import StageFolder
from genuq.stages.columns import columns_of, is_version
from genuq.stages.dealing import deal
from genuq.stages.progress import Display
from genuq.stages.run import Run
from genuq.stages.sample import shown, with_deviations
from genuq.stages.shards import Shards, shard_name
from genuq.stages.stage import STAGES, Stage

REAL = "real.safetensors"
JUDGED = "judge."  # prefix of a column of the judge's features


class Embed(Stage):
    """Leaves shard-START-STOP.safetensors, with the embeddings of the samples, of every posterior's draws and of the
    controls, and the judge's features of the samples and the draws; and real.safetensors, its features of real images.
    """

    name = "embed"
    version = 3
    shared = True
    inputs = ("sample",)

    def weights_of(self, run: Run) -> tuple[str, ...]:
        return ("judge",) if run.config.metric.extractor == "classifier" and "judge" in run.config.stages else ()

    def settings(self, run: Run) -> dict[str, Any]:
        judged = {key: run.plain("metric")["metric"][key] for key in ("extractor", "options", "reference_images")}
        judged["options"] = by_content(run, judged["options"])
        if judged["extractor"] == "classifier":
            judged["checkpoint"] = judge_identity(run)
        likelihood = run.plain("likelihood")["likelihood"]
        for key in ("batch_size", "observation_variance", "include_unperturbed"):
            likelihood.pop(key)
        likelihood["options"] = by_content(run, likelihood["options"])
        noise = "direct_noise" in columns_of(run)
        return {
            "seed": run.config.seed,
            "data": run.contents("test"),
            "likelihood": likelihood,
            "judge": judged,
            "direct_noise": run.config.score.noise_standard_deviation if noise else None,
        }

    def work(self, run: Run, folder: StageFolder, display: Display) -> Mapping[str, Any]:
        real = folder.path / REAL
        if not real.exists():
            reference = reference_images(run)
            with display.bar("embedding real images", len(reference)) as advance:
                features = run.judge.embed(reference, batch_size=256, progress=advance)
            files.write_tensors(real, {"real": features})
        self.assist(run, display)
        return {"likelihood": run.likelihood.name, "judge": run.judge.name}

    def assist(self, run: Run, display: Display) -> None:
        def make(indices: list[int], advance: Callable[[int], None]) -> dict[str, Tensor]:
            tensors = one_shard(run, run.path("sample") / shard_name(indices[0], indices[-1] + 1))
            advance(len(indices))
            return tensors

        deal(run, self.folder(run), make, display, "embedding")


def one_shard(run: Run, samples_path: Path) -> dict[str, Tensor]:
    """The embeddings of a shard of samples, and the judge's features of it under names of their own."""
    samples = with_deviations(files.read_tensors(samples_path)[0])
    settings = {"batch_size": run.config.likelihood.batch_size, "device": run.device}
    versions = versions_to_score(run, samples)
    embedded = {name: run.likelihood.embed(tensor, **settings) for name, tensor in versions.items()}
    judged = {f"{JUDGED}{name}": features_of(run, samples[name]) for name in ("image", *run.posteriors())}
    return embedded | judged


def features_of(run: Run, samples: Tensor) -> Tensor:
    """What the judge sees in samples (N, ...), or in draws (N, M, ...) of them: (N, D) or (N, M, D)."""
    drawn = samples.dim() > len(run.training_set.shape) + 1
    features = run.judge.embed(shown(run, samples.flatten(0, 1) if drawn else samples), batch_size=256)
    return features.reshape(*samples.shape[:2], -1) if drawn else features


def read_embeddings(run: Run) -> dict[str, Tensor]:
    """The finished stage's embeddings: `image` (N, D), and (N, M, D) for each set of draws and each control."""
    found = Shards(run.path(Embed.name))
    return {name: found.read(name) for name in found.names if not name.startswith(JUDGED)}


def read_judged(run: Run) -> dict[str, Tensor]:
    """The judge's features of `image` (N, D), of every posterior's draws (N, M, D), and of `real` images (R, D)."""
    found = Shards(run.path(Embed.name))
    judged = {name.removeprefix(JUDGED): found.read(name) for name in found.names if name.startswith(JUDGED)}
    return judged | files.read_tensors(run.path(Embed.name) / REAL)[0]


def by_content(run: Run, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of an extractor, its checkpoint by its sha256."""
    given = options.get("checkpoint")
    return dict(options) | ({} if given is None else {"checkpoint": run.sha256(given)})


def judge_identity(run: Run) -> str:
    """What identifies the judging classifier: its training's fingerprint, or the shipped file's sha256."""
    if "judge" in run.config.stages:
        return STAGES["judge"].folder(run).fingerprint
    return run.sha256(run.judge_checkpoint)


def versions_to_score(run: Run, samples: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the likelihood embeds: `image` (N, ...), and the draws and controls (N, M, ...)."""
    versions = {
        name: to_unit(tensor) if run.is_image else tensor for name, tensor in samples.items() if is_version(name)
    }
    if "direct_noise" in columns_of(run):
        versions["direct_noise"] = direct_noise(
            versions["image"],
            run.config.posterior.draws,
            run.config.score.noise_standard_deviation,
            run.config.seed,
            samples["index"].tolist(),
        )
    return versions


def reference_images(run: Run) -> Tensor:
    """A seeded subset of the real test set, as a person sees it."""
    real = run.test_set
    wanted = min(run.config.metric.reference_images, len(real))
    chosen = data.subset(real, wanted, run.config.seed)
    items, _ = chosen.batch(range(len(chosen)))
    return to_bytes(items) if run.is_image else items
