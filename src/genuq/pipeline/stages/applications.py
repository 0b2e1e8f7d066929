"""What an application sees of a finished run, and how each is run on it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
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
from genuq.identity import neutral, where_given
from genuq.likelihoods import Likelihood
from genuq.metrics import realism
from genuq.pipeline.inputs import DataInputs, ModelInputs, PartInputs, SamplerInputs
from genuq.pipeline.judging import JudgeInputs, PromptInputs, TruthInputs
from genuq.pipeline.posteriors import evaluated, load_posterior
from genuq.pipeline.run import Run
from genuq.pipeline.stages.embed import read_judged
from genuq.pipeline.stages.propagate import default_propagator
from genuq.pipeline.stages.sample import read_samples, shown
from genuq.pipeline.stages.score import DrawsInputs, read_scores
from genuq.pipeline.stages.witnesses import Spaces
from genuq.posteriors import Posterior
from genuq.propagators import Propagator
from genuq.store.upstream import Upstream


def application_settings(run: Run) -> Any:
    """The application's own settings as the library takes them.

    Raises:
        ConfigurationError: an application that does not exist, or values that cannot work.
    """
    settings = run.plain("application")["application"]
    name = settings.pop("name", None)
    return APPLICATIONS.get(str(name)).settings_of(settings)


@dataclass(frozen=True)
class ApplyInputs:
    """What the outcome of an application depends on.

    Attributes:
        application: its entry in `genuq.applications.APPLICATIONS`, with all that it reads of its settings.
        spaces: that it may ask for.
        main: name of the run's own score.
        drawn: how draws are seen.
        functional: the score of the draws of controls.
        draws: M of the main posterior.
        neighbours: k of the judge's measures.
        bootstrap: replicates of the intervals.
        curves: settings of the curves that it reads.
        shown_settings: its settings as configured, for the reader.
        command: that the reader may repeat.
        code: of the propagator that it names, if that is not genuq's own.
        truth: the oracle that says which samples are good, where it is not the judge.
        prompts: what says how well samples show their prompts.
        beyond_data: whether samples' classes are prompts of which a judge of the data knows nothing.
    """

    seed: int
    model: ModelInputs
    data: DataInputs
    fit: Upstream
    sample: Upstream
    embed: Upstream
    score: Upstream
    sampler: SamplerInputs
    judge: JudgeInputs
    application: PartInputs
    spaces: Spaces
    main: str
    drawn: DrawsInputs
    functional: str
    draws: int
    neighbours: int
    bootstrap: int
    curves: Mapping[str, int]
    shown_settings: Mapping[str, Any] = neutral()
    command: str = neutral()
    code: Mapping[str, Any] = where_given(default_factory=dict)
    truth: TruthInputs | None = where_given(default=None)
    prompts: PromptInputs | None = where_given(None)
    beyond_data: bool = where_given(False)

    @property
    def settings(self) -> Any:
        """As the library takes them."""
        return APPLICATIONS.get(self.application.name).settings_of(self.application.options)


class StoredRun:
    """What the applications share of a finished run; see `genuq.applications.FinishedRun`.

    Args:
        parts: folder for what a killed run shall find again.
    """

    def __init__(self, inputs: ApplyInputs, parts: Path, display: Display) -> None:
        self.inputs, self.parts, self.display = inputs, parts, display
        self.samples, self.scores = read_samples(inputs.sample.path), read_scores(inputs.score.path)
        self.score = self.scores[inputs.main]
        self.judged = read_judged(inputs.embed.path)
        self.real = self.judged["real"]
        self.replicates = Replicates(inputs.bootstrap, inputs.seed)
        conditional = bool((self.samples["class"] >= 0).all())
        self.classes = self.samples["class"] if conditional else None
        self.seed, engine = inputs.seed, inputs.sampler.engine
        self.model = evaluated(engine, inputs.model.open(), [self.posterior] if engine else [])
        self.sampler = inputs.sampler.build(self.model)
        self.draws, self.functional, self.k = inputs.draws, inputs.functional, inputs.neighbours

    @property
    def half_samples(self) -> int:
        """Of the curves."""
        return self.inputs.curves["half_samples"]

    @property
    def random_repeats(self) -> int:
        """Of the curves' controls."""
        return self.inputs.curves["random_repeats"]

    @property
    def training_set(self) -> Dataset:
        """What the model was trained on."""
        return self.inputs.data.train

    @cached_property
    def likelihood(self) -> Likelihood:
        """The run's."""
        likelihood = self.inputs.drawn.open()
        assert isinstance(likelihood, Likelihood)
        return likelihood

    @cached_property
    def posterior(self) -> Posterior:
        """The main one."""
        return load_posterior(self.inputs.fit.path, self.inputs.model.open())

    def propagator(self, name: str) -> Propagator:
        """A propagator with its defaults; one that follows draws follows the run's."""
        return default_propagator(name, self.draws)

    def space(self, name: str) -> tuple[str, Callable[[Tensor], Tensor]]:
        """(a space's own name, images in [-1, 1] to features)."""
        return self.inputs.spaces.feature_map(name)

    def busy(self, what: str) -> contextlib.AbstractContextManager[object]:
        """Shows that something of unknown length runs."""
        return self.display.busy(what)

    def shown(self, samples: Tensor) -> Tensor:
        """Samples as a person sees them: uint8 images, or points."""
        return shown(samples, len(self.inputs.drawn.likelihood.shape) == 3)

    @property
    def judge(self) -> Judge:
        def judged(samples: Tensor, classes: Tensor | None) -> Judgement:
            features = self.inputs.judge.open().embed(self.shown(samples), batch_size=256)
            return Judgement(features, self.measures(samples, features, classes))

        return judged

    @property
    def judgement(self) -> Judgement:
        """Of the run's own samples, whose features are there already."""
        features = self.judged["image"]
        return Judgement(features, self.measures(self.samples["image"], features, self.classes))

    def measures(self, samples: Tensor, features: Tensor, classes: Tensor | None) -> dict[str, Tensor]:
        """What can be said of them, the most telling first: confidence and class, the truth, realism, CLIP score."""
        judge, truth, prompts = self.inputs.judge.open(), self.inputs.truth, self.inputs.prompts
        labels = None if self.inputs.beyond_data else classes
        measures = {}
        if truth is not None:
            measures["good"] = 1 - truth.bad_in(truth.of(samples, labels)).double()
        if judge.probabilities is not None and labels is not None:
            probabilities = judge.probabilities(features)
            measures["confidence"] = probabilities.gather(1, labels[:, None])[:, 0]
            measures["accuracy"] = (probabilities.argmax(1) == labels).double()
        if judge.truth is not None and truth is None:
            measures["good"] = 1 - judge.truth(samples).double()
        measures["realism"] = realism(self.judged["real"], features, self.k)
        if prompts is not None and classes is not None:
            measures["clip_score"] = prompts.score(prompts.of_images(self.shown(samples)), classes)
        return measures

    def classes_at(self, index: Tensor) -> Tensor | None:
        return None if self.classes is None else self.classes[index]

    def examples(self, index: Tensor, images: Mapping[str, Tensor], mask: Tensor | None = None) -> dict[str, Tensor]:
        """The first examples as a person sees them, each with the judge's first measure."""
        index, classes = index[:EXAMPLES], self.classes_at(index[:EXAMPLES])
        examples = {"index": index}
        for name, tensor in images.items():
            judged = self.judge(tensor[:EXAMPLES], classes)
            examples[name] = self.shown(tensor[:EXAMPLES])
            examples[f"{name}_judged"] = judged.measures[judged.primary].double()
        return examples if mask is None else examples | {"mask": mask[:EXAMPLES].to(torch.uint8)}

    def in_batches(self, indices: Sequence[int], kind: type, make: Callable[[list[int]], Any]) -> Any:
        """The fields of `kind` for all the samples; finished batches of a killed run are found again."""
        made, inputs = [], self.inputs
        with self.display.bar(f"application {inputs.application.name}", len(indices)) as advance:
            for start, batch in batches(indices, inputs.sampler.batch_size):
                path = self.parts / f"part-{start:07d}.safetensors"
                if not path.exists():
                    result = make(batch)
                    files.write_tensors(path, {field.name: getattr(result, field.name) for field in fields(kind)})
                made.append(files.read_tensors(path)[0])
                advance(len(batch))
        return kind(**{field.name: torch.cat([part[field.name] for part in made]) for field in fields(kind)})


def batches(indices: Sequence[int], size: int) -> Iterator[tuple[int, list[int]]]:
    for start in range(0, len(indices), size):
        yield start, list(indices[start : start + size])
