"""The stage that scores: functionals of the draws' embeddings, and the controls, one number for each sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from genuq import files
from genuq.analysis import ScoredSamples
from genuq.metrics import realism
from genuq.scores import complexity, functional, random_score
from genuq.stages.artefacts import StageFolder
from genuq.stages.fit import OWN, is_control
from genuq.stages.progress import Display
from genuq.stages.run import Run
from genuq.stages.sample import read_samples, shown
from genuq.stages.stage import Stage

LABELS = {
    "entropy": "Generative uncertainty",
    "full_covariance_entropy": "Full-covariance entropy",
    "trace": "Total variance",
    "cosine": "Cosine distance",
    "paide": "Pairwise-distance entropy",
    "random": "Random",
    "complexity": "Image complexity",
    "direct_noise": "Direct pixel noise",
    "jitter": "Initial-noise jitter",
    "isotropic": "Isotropic weight noise",
    "realism": "Realism (sees real data)",
}


class Score(Stage):
    """Leaves scores.safetensors: one (N,) float64 column for each score, control and oracle."""

    name = "score"
    inputs = ("embed",)
    groups = ("score",)

    def settings(self, run: Run) -> dict[str, Any]:
        likelihood = run.plain("likelihood")["likelihood"]
        kept = {key: likelihood[key] for key in ("observation_variance", "include_unperturbed")}
        return super().settings(run) | {"likelihood": kept, "k": run.config.metric.k}

    def work(self, run: Run, folder: StageFolder, display: Display) -> Mapping[str, Any]:
        samples = read_samples(run)
        embeddings, _ = files.read_tensors(run.folder / "embed" / "embeddings.safetensors")
        draws_NMD = with_unperturbed(run, embeddings, "draws")
        variance = run.likelihood.observation_variance(draws_NMD)
        columns = {
            name: functional(name)(draws_NMD, variance.value)
            for name in [run.config.score.name, *run.config.score.also]
        }
        for name in beside(run):
            columns[name] = of_draws(run, name, embeddings)
        for name in run.config.score.controls:
            columns[name] = control(run, name, samples, embeddings)
        columns["realism"] = oracle(run)
        files.write_tensors(folder.path / "scores.safetensors", columns)
        return {"observation_variance": as_number(variance.value), "how": variance.how}


def with_unperturbed(run: Run, embeddings: Mapping[str, Tensor], name: str) -> Tensor:
    """Embeddings (N, M, D) of a set of draws, the unperturbed sample before them where it counts."""
    draws_NMD = embeddings[name]
    if not run.config.likelihood.include_unperturbed:
        return draws_NMD
    return torch.cat([embeddings["image"][:, None], draws_NMD], dim=1)


def control(run: Run, name: str, samples: Mapping[str, Tensor], embeddings: Mapping[str, Tensor]) -> Tensor:
    """A control's score: a column of its own, or the run's functional on the control's draws."""
    if name == "random":
        return random_score(samples["index"].tolist(), run.config.seed)
    if name == "complexity":
        return complexity(shown(run, samples["image"]))["png_bytes"]
    return of_draws(run, name, embeddings)


def of_draws(run: Run, name: str, embeddings: Mapping[str, Tensor]) -> Tensor:
    """The run's functional on the draws called `name`, with an observation variance of their own."""
    draws_NMD = with_unperturbed(run, embeddings, name)
    variance = run.likelihood.observation_variance(draws_NMD)
    return functional(run.config.score.name)(draws_NMD, variance.value)


def beside(run: Run) -> list[str]:
    """Names of the posteriors beside the run's own."""
    return [name for name in run.posteriors() if name != OWN]


def oracle(run: Run) -> Tensor:
    """Minus the realism of each sample in the judge's space: what filtering with real data at hand would do."""
    judged, _ = files.read_tensors(run.folder / "embed" / "judge.safetensors")
    return -realism(judged["real"], judged["image"], run.config.metric.k).double()


def as_number(variance: Any) -> float:
    return float(torch.as_tensor(variance).double().mean())


def scored_samples(run: Run, columns: Mapping[str, Tensor], evaluations: int) -> dict[str, ScoredSamples]:
    """The columns with what a reader needs to know of them: the run's own score first, then other posteriors'."""
    own, settings = [run.config.score.name, *run.config.score.also], run.posteriors()
    kinds = {name: "control" for name in run.config.score.controls} | {"realism": "oracle"}
    kinds |= {name: "control" for name in beside(run) if is_control(settings[name])}
    regenerations = dict.fromkeys([*own, "jitter", "isotropic"], settings[OWN]["draws"])
    regenerations |= {name: settings[name]["draws"] for name in beside(run)}
    order = [*own, *beside(run), *run.config.score.controls, "realism"]
    return {
        name: ScoredSamples(
            columns[name], label(run, name), kinds.get(name, "score"), float(regenerations.get(name, 0) * evaluations)
        )
        for name in sorted(order, key=lambda name: ("score", "control", "oracle").index(kinds.get(name, "score")))
    }


def label(run: Run, name: str) -> str:
    """What a column is called: for a posterior beside the run's own, the functional and the posterior's name."""
    if name in LABELS:
        return LABELS[name]
    return f"{LABELS[run.config.score.name]}: {name.replace('_', ' ')}"
