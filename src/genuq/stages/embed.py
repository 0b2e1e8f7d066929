"""The stage that embeds: samples and draws in the likelihood's space; samples and real images in the judge's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from genuq import data, files
from genuq.models import to_bytes, to_unit
from genuq.scores import direct_noise
from genuq.stages.artefacts import StageFolder
from genuq.stages.columns import columns_of, is_version
from genuq.stages.progress import Display
from genuq.stages.run import Run
from genuq.stages.sample import read_samples, shown
from genuq.stages.stage import STAGES, Stage


class Embed(Stage):
    """Leaves embeddings.safetensors (image, every posterior's draws, controls) and judge.safetensors (image, real,
    every posterior's draws).
    """

    name = "embed"
    version = 2
    inputs = ("sample",)

    def weights_of(self, run: Run) -> tuple[str, ...]:
        return ("judge",) if run.config.metric.extractor == "classifier" and "judge" in run.config.stages else ()

    def settings(self, run: Run) -> dict[str, Any]:
        judged = {key: run.plain("metric")["metric"][key] for key in ("extractor", "options", "reference_images")}
        if judged["extractor"] == "classifier":
            judged["checkpoint"] = judge_identity(run)
        likelihood = run.plain("likelihood")["likelihood"]
        for key in ("batch_size", "observation_variance", "include_unperturbed"):
            likelihood.pop(key)
        noise = "direct_noise" in columns_of(run)
        return {
            "seed": run.config.seed,
            "data": run.plain("data")["data"],
            "likelihood": likelihood,
            "judge": judged,
            "direct_noise": run.config.score.noise_standard_deviation if noise else None,
        }

    def work(self, run: Run, folder: StageFolder, display: Display) -> Mapping[str, Any]:
        samples = read_samples(run)
        versions = versions_to_score(run, samples)
        count = sum(tensor.shape[0] * (tensor.shape[1] if name != "image" else 1) for name, tensor in versions.items())
        with display.bar("embedding", count) as advance:
            settings = {"batch_size": run.config.likelihood.batch_size, "progress": advance, "device": run.device}
            embedded = {name: run.likelihood.embed(tensor, **settings) for name, tensor in versions.items()}
        files.write_tensors(folder.path / "embeddings.safetensors", embedded)
        reference = reference_images(run)
        judging = {"image": shown(run, samples["image"]), "real": reference}
        judging |= {name: shown(run, samples[name]) for name in run.posteriors()}
        count = sum(
            len(tensor) * (tensor.shape[1] if name in run.posteriors() else 1) for name, tensor in judging.items()
        )
        with display.bar("embedding for the judge", count) as advance:
            judged = judge_features(run, judging, advance)
        files.write_tensors(folder.path / "judge.safetensors", judged)
        return {"likelihood": run.likelihood.name, "judge": run.judge.name}


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


def judge_features(run: Run, sets: Mapping[str, Tensor], advance: Callable[[int], None]) -> dict[str, Tensor]:
    """Features of each set in the judge's space; draws (N, M, ...) become (N, M, D)."""
    features, drawn = {}, run.posteriors()
    for name, tensor in sets.items():
        flat = tensor.flatten(0, 1) if name in drawn else tensor
        embedded = run.judge.embed(flat, batch_size=256, progress=advance)
        features[name] = embedded.reshape(*tensor.shape[:2], -1) if name in drawn else embedded
    return features
