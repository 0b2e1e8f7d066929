"""The stage that scores: functionals of the draws' embeddings, baselines and controls, one number for each sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from genuq import files
from genuq.display import Display
from genuq.pipeline.columns import ORACLES, PROPAGATED, WATCHED, columns_of, functional_of, oracle
from genuq.pipeline.run import OWN, Run
from genuq.pipeline.stage import Stage
from genuq.pipeline.stages.embed import read_embeddings, read_judged
from genuq.pipeline.stages.propagate import propagated_score, score_settings
from genuq.pipeline.stages.sample import read_samples, shown
from genuq.scores import BASELINES, FUNCTIONALS, functional, png_bytes, random_score
from genuq.store.artefact import StageFolder

SCORES = "scores.safetensors"


class Score(Stage):
    """Leaves scores.safetensors: one (N,) float64 column for each score, baseline, control and oracle."""

    name = "score"
    inputs = ("embed",)
    groups = ("score",)

    def needs(self, run: Run) -> tuple[str, ...]:
        return self.inputs if run.config.propagator is None else (*self.inputs, "propagate")

    def settings(self, run: Run) -> dict[str, Any]:
        likelihood = run.plain("likelihood")["likelihood"]
        kept = {key: likelihood[key] for key in ("observation_variance", "include_unperturbed")}
        return super().settings(run) | {"likelihood": kept, "k": run.config.metric.k} | score_settings(run)

    def work(self, run: Run, folder: StageFolder, display: Display) -> Mapping[str, Any]:
        samples = read_samples(run)
        embeddings, judged = read_embeddings(run), read_judged(run)
        draws_NMD = with_unperturbed(run, embeddings, OWN)
        variance = run.likelihood.observation_variance(draws_NMD)
        columns = {}
        for name in columns_of(run):
            if name in FUNCTIONALS:
                columns[name] = functional(name)(draws_NMD, variance.value)
            elif name == PROPAGATED:
                columns[name] = propagated_score(run)
            elif name in BASELINES:
                columns[name] = samples[f"{WATCHED}{name}"]
            elif name in ORACLES:
                columns[name] = oracle(run, name, judged)
            else:
                columns[name] = control(run, name, samples, embeddings)
        files.write_tensors(folder.path / SCORES, columns)
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
        return png_bytes(shown(run, samples["image"]))
    return of_draws(run, name, embeddings)


def of_draws(run: Run, name: str, embeddings: Mapping[str, Tensor]) -> Tensor:
    """The run's functional on the draws called `name`, with an observation variance of their own."""
    draws_NMD = with_unperturbed(run, embeddings, name)
    variance = run.likelihood.observation_variance(draws_NMD)
    return functional(functional_of(run))(draws_NMD, variance.value)


def as_number(variance: Any) -> float:
    return float(torch.as_tensor(variance).double().mean())
