"""The stage that scores: functionals of the draws' embeddings, baselines and controls, one number for each sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genuq import files
from genuq.display import Display
from genuq.likelihoods import Likelihood
from genuq.likelihoods.points import PointLikelihood
from genuq.pipeline.columns import ORACLES, PROPAGATED, WATCHED, functional_of, oracle, score_columns
from genuq.pipeline.configured import likelihood_inputs
from genuq.pipeline.parts import LikelihoodInputs
from genuq.pipeline.run import Run
from genuq.pipeline.stage import Stage, upstream
from genuq.pipeline.stages.embed import read_embeddings, read_judged
from genuq.pipeline.stages.propagate import PixelScoreInputs, pixel_score_inputs
from genuq.pipeline.stages.sample import read_samples, shown
from genuq.scores import BASELINES, FUNCTIONALS, complexity, functional, random_score
from genuq.store.artefact import StageFolder
from genuq.store.upstream import Upstream

SCORES = "scores.safetensors"


@dataclass(frozen=True)
class DrawScoring:
    """How draws are scored in the likelihood's space.

    Attributes:
        likelihood: in whose space they lie.
        observation_variance: None takes it from the draws.
        include_unperturbed: whether the unperturbed sample counts as one of the draws.
        functional: of the draws of controls and other posteriors.
    """

    likelihood: LikelihoodInputs
    observation_variance: float | None
    include_unperturbed: bool
    functional: str

    def open(self) -> Likelihood | PointLikelihood:
        """The likelihood with its variance."""
        return self.likelihood.build(self.observation_variance)

    def variance(self, draws_NMD: Tensor) -> Any:
        """s^2 of the observations, and how it was chosen."""
        return self.open().observation_variance(draws_NMD)

    def draws(self, embeddings: Mapping[str, Tensor], name: str) -> Tensor:
        """Embeddings (N, M, D) of a set of draws, the unperturbed sample before them where it counts."""
        draws_NMD = embeddings[name]
        if not self.include_unperturbed:
            return draws_NMD
        return torch.cat([embeddings["image"][:, None], draws_NMD], dim=1)

    def score(self, embeddings: Mapping[str, Tensor], name: str) -> Tensor:
        """The functional of a set of draws, with an observation variance of their own."""
        draws_NMD = self.draws(embeddings, name)
        return functional(self.functional)(draws_NMD, self.variance(draws_NMD).value)


@dataclass(frozen=True)
class ScoreInputs:
    """What scores depend on.

    Attributes:
        columns: names of the scores, in their order.
        drawn: how draws are scored.
        pixels: how propagated variances are, where there are any.
        neighbours: k of the oracles.
        seed: of the random score.
    """

    sample: Upstream
    embed: Upstream
    columns: tuple[str, ...]
    drawn: DrawScoring
    pixels: PixelScoreInputs | None
    neighbours: int
    seed: int


class Score(Stage[ScoreInputs]):
    """Leaves scores.safetensors: one (N,) float64 column for each score, baseline, control and oracle."""

    name = "score"
    version = 2

    def inputs(self, run: Run) -> ScoreInputs:
        return ScoreInputs(
            sample=upstream(run, "sample"),
            embed=upstream(run, "embed"),
            columns=tuple(score_columns(run)),
            drawn=draw_scoring(run),
            pixels=pixel_score_inputs(run),
            neighbours=run.config.metric.k,
            seed=run.config.seed,
        )

    def work(self, inputs: ScoreInputs, folder: StageFolder, display: Display) -> Mapping[str, Any]:
        samples = read_samples(inputs.sample.path)
        embeddings, judged = read_embeddings(inputs.embed.path), read_judged(inputs.embed.path)
        draws_NMD = inputs.drawn.draws(embeddings, "draws")
        variance = inputs.drawn.variance(draws_NMD)
        columns = {}
        for name in inputs.columns:
            if name in FUNCTIONALS:
                columns[name] = functional(name)(draws_NMD, variance.value)
            elif name == PROPAGATED:
                assert inputs.pixels is not None
                columns[name] = inputs.pixels.score()
            elif name in BASELINES:
                columns[name] = samples[f"{WATCHED}{name}"]
            elif name in ORACLES:
                columns[name] = oracle(name, judged, inputs.neighbours)
            elif name == "random":
                columns[name] = random_score(samples["index"].tolist(), inputs.seed)
            elif name == "complexity":
                columns[name] = complexity(shown(samples["image"], are_images=True))["png_bytes"]
            else:
                columns[name] = inputs.drawn.score(embeddings, name)
        files.write_tensors(folder.path / SCORES, columns)
        return {"observation_variance": as_number(variance.value), "how": variance.how}


def draw_scoring(run: Run) -> DrawScoring:
    """How the run scores draws."""
    settings = run.config.likelihood
    return DrawScoring(
        likelihood_inputs(run), settings.observation_variance, settings.include_unperturbed, functional_of(run)
    )


def read_scores(folder: Path) -> dict[str, Tensor]:
    """The finished stage's columns (N,) by the names of the scores."""
    return files.read_tensors(folder / SCORES)[0]


def as_number(variance: Any) -> float:
    return float(torch.as_tensor(variance).double().mean())
