"""What an application sees of a finished run, and how each is run on it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genuq import files
from genuq.applications import APPLICATIONS, Judge, Judgement, Replicates
from genuq.applications.finished_run import EXAMPLES
from genuq.data import Dataset
from genuq.display import Display
from genuq.likelihoods import Likelihood
from genuq.metrics import realism
from genuq.pipeline.columns import functional_of
from genuq.pipeline.posteriors import load_posterior
from genuq.pipeline.run import Run
from genuq.pipeline.stages.embed import read_judged
from genuq.pipeline.stages.propagate import default_propagator
from genuq.pipeline.stages.sample import read_samples, shown
from genuq.pipeline.stages.score import SCORES_FILE
from genuq.pipeline.stages.witnesses import way_into
from genuq.posteriors import Posterior
from genuq.propagators import Propagator


def settings_of(run: Run) -> Any:
    """The application's own settings as the library takes them.

    Raises:
        ConfigurationError: an application that does not exist, or values that cannot work.
    """
    given = run.plain("application")["application"]
    name = given.pop("name", None)
    return APPLICATIONS.get(str(name)).settings_of(given)


class Known:
    """What the applications share of a finished run; see `genuq.applications.FinishedRun`.

    Args:
        parts: folder for what a killed run shall find again.
    """

    def __init__(self, run: Run, parts: Path, display: Display) -> None:
        self.run, self.parts, self.display = run, parts, display
        self.samples = read_samples(run)
        self.scores, _ = files.read_tensors(run.path("score") / SCORES_FILE)
        self.score = self.scores[run.config.score.name]
        self.judged = read_judged(run)
        self.real = self.judged["real"]
        self.replicates = Replicates(run.config.metric.bootstrap, run.config.seed)
        conditional = bool((self.samples["class"] >= 0).all())
        self.classes = self.samples["class"] if conditional else None
        self.model, self.sampler, self.seed = run.model, run.sampler, run.config.seed
        self.draws, self.functional = run.config.posterior.draws, functional_of(run)
        metric = run.config.metric
        self.k, self.half_samples, self.random_repeats = metric.k, metric.half_samples, metric.random_repeats

    @property
    def training_set(self) -> Dataset:
        return self.run.training_set

    @property
    def likelihood(self) -> Likelihood:
        assert isinstance(self.run.likelihood, Likelihood)
        return self.run.likelihood

    @cached_property
    def posterior(self) -> Posterior:
        return load_posterior(self.run)

    def propagator(self, name: str) -> Propagator:
        return default_propagator(self.run, name)

    def space(self, name: str) -> tuple[str, Callable[[Tensor], Tensor]]:
        return way_into(self.run, name)

    def busy(self, what: str) -> contextlib.AbstractContextManager[object]:
        return self.display.busy(what)

    def shown(self, samples: Tensor) -> Tensor:
        return shown(self.run, samples)

    @property
    def judge(self) -> Judge:
        def judged(samples: Tensor, classes: Tensor | None) -> Judgement:
            features = self.run.judge.embed(shown(self.run, samples), batch_size=256)
            return Judgement(features, self.measures(samples, features, classes))

        return judged

    @property
    def judgement(self) -> Judgement:
        """Of the run's own samples, whose features are there already."""
        features = self.judged["image"]
        return Judgement(features, self.measures(self.samples["image"], features, self.classes))

    def measures(self, samples: Tensor, features: Tensor, classes: Tensor | None) -> dict[str, Tensor]:
        """What the judge can say, the most telling first: confidence and class, the truth, realism."""
        judge, found = self.run.judge, {}
        if judge.probabilities is not None and classes is not None:
            probabilities = judge.probabilities(features)
            found["confidence"] = probabilities.gather(1, classes[:, None])[:, 0]
            found["accuracy"] = (probabilities.argmax(1) == classes).double()
        if judge.truth is not None:
            found["good"] = 1 - judge.truth(samples).double()
        found["realism"] = realism(self.judged["real"], features, self.run.config.metric.k)
        return found

    def classes_at(self, index: Tensor) -> Tensor | None:
        return None if self.classes is None else self.classes[index]

    def examples(self, index: Tensor, images: Mapping[str, Tensor], mask: Tensor | None = None) -> dict[str, Tensor]:
        """The first examples as a person sees them, each with the judge's first measure."""
        index, classes = index[:EXAMPLES], self.classes_at(index[:EXAMPLES])
        found = {"index": index}
        for name, tensor in images.items():
            judged = self.judge(tensor[:EXAMPLES], classes)
            found[name] = shown(self.run, tensor[:EXAMPLES])
            found[f"{name}_judged"] = judged.measures[judged.primary].double()
        return found if mask is None else found | {"mask": mask[:EXAMPLES].to(torch.uint8)}

    def in_batches(self, indices: Sequence[int], kind: type, make: Callable[[list[int]], Any]) -> Any:
        """The fields of `kind` for all the samples; finished batches of a killed run are found again."""
        made, run = [], self.run
        with self.display.bar(f"application {run.config.application.name}", len(indices)) as advance:
            for start, batch in batches(indices, run.config.sampler.batch_size):
                path = self.parts / f"part-{start:07d}.safetensors"
                if not path.exists():
                    found = make(batch)
                    files.write_tensors(path, {field.name: getattr(found, field.name) for field in fields(kind)})
                made.append(files.read_tensors(path)[0])
                advance(len(batch))
        return kind(**{field.name: torch.cat([part[field.name] for part in made]) for field in fields(kind)})


def batches(indices: Sequence[int], size: int) -> Iterator[tuple[int, list[int]]]:
    for start in range(0, len(indices), size):
        yield start, list(indices[start : start + size])
