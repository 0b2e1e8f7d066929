"""The stage that scores: functionals of the draws' embeddings, baselines and controls, one number for each sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genuq import files
from genuq.display import Display
from genuq.pipeline.columns import WATCHED, beside, columns_of, entry_of, foreign, functional_of, options_of
from genuq.pipeline.run import OWN, Run
from genuq.pipeline.stage import Stage
from genuq.pipeline.stages.embed import read_embeddings, read_judged
from genuq.pipeline.stages.propagate import propagated, score_options, score_settings
from genuq.pipeline.stages.sample import read_samples, shown
from genuq.scores import SCORES, SOURCES
from genuq.store.artefact import StageFolder

SCORES_FILE = "scores.safetensors"


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
        return (
            super().settings(run)
            | {"likelihood": kept, "k": run.config.metric.k}
            | score_settings(run)
            | foreign(run, *SOURCES)
        )

    def work(self, run: Run, folder: StageFolder, display: Display) -> Mapping[str, Any]:
        made = Made(run, read_samples(run), read_embeddings(run), read_judged(run))
        variance = run.likelihood.observation_variance(made.draws(OWN))
        columns = {name: column(made, name) for name in columns_of(run)}
        files.write_tensors(folder.path / SCORES_FILE, columns)
        return {"observation_variance": as_number(variance.value), "how": variance.how}


@dataclass(frozen=True)
class Made:
    """What the earlier stages have made: all that a score may be of."""

    run: Run
    samples: Mapping[str, Tensor]
    embeddings: Mapping[str, Tensor]
    judged: Mapping[str, Tensor]

    def draws(self, name: str) -> Tensor:
        """Embeddings (N, M, D) of a set of draws, the unperturbed sample before them where it counts."""
        draws_NMD = self.embeddings[name]
        if not self.run.config.likelihood.include_unperturbed:
            return draws_NMD
        return torch.cat([self.embeddings["image"][:, None], draws_NMD], dim=1)


def column(made: Made, name: str) -> Tensor:
    """One column of the table, (N,) float64, computed from what its score is made from."""
    run, samples, known = made.run, made.samples, entry_of(made.run, name)
    if known.source == "draws" or known.makes_draws:
        return of_draws(made, name)
    if known.source == "trajectory":
        return samples[f"{WATCHED}{name}"]
    given: dict[str, Callable[[], tuple[tuple[Any, ...], dict[str, Any]]]] = {
        "propagation": lambda: ((propagated(run)["variance"],), score_options(run, known)),
        "image": lambda: ((shown(run, samples["image"]),), {}),
        "real": lambda: ((made.judged["real"], made.judged["image"]), {"k": run.config.metric.k}),
        "nothing": lambda: ((), {"indices": samples["index"].tolist(), "seed": run.config.seed}),
    }
    arguments, named = given[known.source]()
    return known.values(len(samples["index"]), *arguments, **options_of(run, name) | named)


def of_draws(made: Made, name: str) -> Tensor:
    """A functional of the draws of a posterior or of a control, each with an observation variance of its own.

    A score of the run's own draws is its own functional; of all other draws it is the run's.
    """
    run, known = made.run, entry_of(made.run, name)
    own = known.source == "draws" and name not in beside(run)
    draws_NMD = made.draws(OWN if own else name)
    functional = SCORES.get(name if own else functional_of(run))
    variance = run.likelihood.observation_variance(draws_NMD)
    return functional.values(len(draws_NMD), draws_NMD, variance.value, **options_of(run, functional.name))


def as_number(variance: Any) -> float:
    return float(torch.as_tensor(variance).double().mean())
