"""What an application sees of a finished run, and how each is run on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genuq import files
from genuq.applications import (
    Attempts,
    Augmentation,
    Augmented,
    Filter,
    Guidance,
    Guided,
    Judge,
    Judgement,
    Outcome,
    Rectification,
    Replicates,
    attempt,
    augment,
    augmentation_outcome,
    best_of,
    best_of_n_outcome,
    candidate_groups,
    chosen,
    decide,
    filter_outcome,
    guidance_outcome,
    guide,
    rectification_outcome,
    score_evidence,
)
from genuq.display import Display
from genuq.identity import neutral
from genuq.likelihoods import Likelihood
from genuq.metrics import realism
from genuq.pipeline.parts import JudgeInputs, ModelInputs, SamplerInputs
from genuq.pipeline.posteriors import load_posterior
from genuq.pipeline.run import Run
from genuq.pipeline.stages.embed import read_judged
from genuq.pipeline.stages.propagate import default_propagator
from genuq.pipeline.stages.sample import read_samples, shown
from genuq.pipeline.stages.score import DrawScoring, read_scores
from genuq.pipeline.stages.witnesses import WitnessInputs, witness_panel
from genuq.store.upstream import Upstream

SETTINGS = {"filter": Filter, "augment": Augmentation, "rectify": Rectification, "guide": Guidance}
EXAMPLES = 24
Made = tuple[Outcome, dict[str, Tensor]]


@dataclass(frozen=True)
class ApplyInputs:
    """What the outcome of an application depends on.

    Attributes:
        name: of the application.
        how: its settings as the library takes them; None where all are `options`.
        options: the rest of them.
        witnesses: that it asks, if any.
        main: name of the run's own score.
        drawn: how draws are scored.
        draws: M of the main posterior.
        bootstrap: replicates of the intervals.
        half_samples, random_repeats: of the curves; None where the application draws none.
        shown_settings: all of its settings as configured, for the reader.
        command: that the reader may repeat.
    """

    seed: int
    model: ModelInputs
    fit: Upstream
    sample: Upstream
    embed: Upstream
    score: Upstream
    sampler: SamplerInputs
    judge: JudgeInputs
    name: str
    how: Any
    options: Mapping[str, Any]
    witnesses: WitnessInputs | None
    main: str
    drawn: DrawScoring
    draws: int
    neighbours: int
    bootstrap: int
    half_samples: int | None
    random_repeats: int | None
    shown_settings: Mapping[str, Any] = neutral()
    command: str = neutral()

    @property
    def are_images(self) -> bool:
        return len(self.drawn.likelihood.shape) == 3

    def shown(self, samples: Tensor) -> Tensor:
        """Samples as a person sees them."""
        return shown(samples, self.are_images)


def settings_of(run: Run) -> Any:
    """The application's own settings as the library takes them.

    Raises:
        ConfigurationError: an application that does not exist, or values that cannot work.
    """
    settings = run.plain("application")["application"]
    kind = SETTINGS[settings["name"]]
    options = {field.name: settings[field.name] for field in fields(kind)}
    return kind(**{key: tuple(value) if key == "window" else value for key, value in options.items()})


class FinishedRun:
    """What the applications share of a finished run: samples, scores, and the judge."""

    def __init__(self, inputs: ApplyInputs) -> None:
        self.inputs = inputs
        self.samples = read_samples(inputs.sample.path)
        self.score = read_scores(inputs.score.path)[inputs.main]
        self.judged = read_judged(inputs.embed.path)
        self.replicates = Replicates(inputs.bootstrap, inputs.seed)
        conditional = bool((self.samples["class"] >= 0).all())
        self.classes = self.samples["class"] if conditional else None

    @property
    def judge(self) -> Judge:
        """Says of any samples what it thinks of them."""

        def judged(samples: Tensor, classes: Tensor | None) -> Judgement:
            features = self.inputs.judge.open().embed(self.inputs.shown(samples), batch_size=256)
            return Judgement(features, self.measures(samples, features, classes))

        return judged

    @property
    def judgement(self) -> Judgement:
        """Of the run's own samples, whose features are there already."""
        features = self.judged["image"]
        return Judgement(features, self.measures(self.samples["image"], features, self.classes))

    def measures(self, samples: Tensor, features: Tensor, classes: Tensor | None) -> dict[str, Tensor]:
        """What the judge can say, the most telling first: confidence and class, the truth, realism."""
        judge = self.inputs.judge.open()
        measures = {}
        if judge.probabilities is not None and classes is not None:
            probabilities = judge.probabilities(features)
            measures["confidence"] = probabilities.gather(1, classes[:, None])[:, 0]
            measures["accuracy"] = (probabilities.argmax(1) == classes).double()
        if judge.truth is not None:
            measures["good"] = 1 - judge.truth(samples).double()
        measures["realism"] = realism(self.judged["real"], features, self.inputs.neighbours)
        return measures

    def classes_at(self, index: Tensor) -> Tensor | None:
        return None if self.classes is None else self.classes[index]

    def examples(self, index: Tensor, images: Mapping[str, Tensor], mask: Tensor | None = None) -> dict[str, Tensor]:
        """The first examples as a person sees them, each with the judge's first measure."""
        index, classes = index[:EXAMPLES], self.classes_at(index[:EXAMPLES])
        examples = {"index": index}
        for name, tensor in images.items():
            judged = self.judge(tensor[:EXAMPLES], classes)
            examples[name] = self.inputs.shown(tensor[:EXAMPLES])
            examples[f"{name}_judged"] = judged.measures[judged.primary].double()
        return examples if mask is None else examples | {"mask": mask[:EXAMPLES].to(torch.uint8)}


def run_filter(finished: FinishedRun, parts: Path, display: Display) -> Made:
    """Examples: the samples of highest score, which were dropped, beside those of lowest score, and any."""
    inputs = finished.inputs
    rule = inputs.how
    with display.busy("filtering"):
        outcome = filter_outcome(
            rule,
            finished.score,
            finished.judgement,
            finished.judged["real"],
            inputs.neighbours,
            finished.classes,
            finished.replicates,
            inputs.half_samples,
            inputs.random_repeats,
        )
    kept = torch.as_tensor(rule.keep(finished.score, finished.classes))
    dropped = torch.ones(len(finished.score), dtype=torch.bool).index_fill(0, kept, False).nonzero().flatten()
    best, worst = (rows[finished.score[rows].argsort()] for rows in (kept, dropped))
    shown_rows = min(EXAMPLES, len(best), len(worst))
    images = finished.samples["image"]
    pairs = {"before": images[worst.flip(0)[:shown_rows]], "after": images[best[:shown_rows]]}
    index = worst.flip(0)[:shown_rows]
    return outcome, _of_rows(finished, index, pairs | {"control": images[:shown_rows]}, best[:shown_rows])


def _of_rows(finished: FinishedRun, index: Tensor, images: Mapping[str, Tensor], after: Tensor) -> dict[str, Tensor]:
    """Examples whose `after` is another sample, `after_index`; each is judged by its own class."""
    judged, first = finished.judgement.measures, finished.judgement.primary
    rows = {"before": index, "after": after, "control": torch.arange(len(index))}
    values = {f"{name}_judged": judged[first][rows[name]].double() for name in rows}
    return {"index": index, "after_index": after, **{k: finished.inputs.shown(v) for k, v in images.items()}, **values}


def run_best_of_n(finished: FinishedRun, parts: Path, display: Display) -> Made:
    """Examples: the candidate of highest score, the chosen one, and the first of each group."""
    n = finished.inputs.options["n"]
    outcome = best_of_n_outcome(n, finished.score, finished.judgement, finished.classes, finished.replicates)
    groups = candidate_groups(len(finished.score), n, finished.classes)[:EXAMPLES]
    best, worst = (torch.as_tensor(best_of(sign * finished.score, groups)) for sign in (1, -1))
    images, judged = finished.samples["image"], finished.judgement
    rows = {"before": worst, "after": best, "control": torch.as_tensor(groups[:, 0])}
    values = {f"{name}_judged": judged.measures[judged.primary][which].double() for name, which in rows.items()}
    pictures = {name: finished.inputs.shown(images[which]) for name, which in rows.items()}
    return outcome, {"index": worst, "after_index": best, **pictures, **values}


def run_augment(finished: FinishedRun, parts: Path, display: Display) -> Made:
    """Examples: a sample, its first new one, and the control's."""
    inputs = finished.inputs
    model, sampler, options = inputs.model.open(), inputs.sampler.build(), inputs.options
    posterior = load_posterior(inputs.fit.path, model)
    propagator = default_propagator(options["propagator"], inputs.draws)

    def make(indices: list[int]) -> Augmented:
        return augment(model, posterior, sampler, indices, inputs.how, propagator, inputs.seed)

    made = Augmented(**in_parts(inputs, parts, list(range(options["samples"])), Augmented, make, display))
    outcome = augmentation_outcome(made, finished.judge, finished.classes_at(made.index), finished.replicates)
    images = {"before": made.before, "after": made.ours[:, 0], "control": made.control[:, 0]}
    return outcome, finished.examples(made.index, images)


def run_rectify(finished: FinishedRun, parts: Path, display: Display) -> Made:
    """Examples: failed samples, the best attempt at each, and the control's best; the accepted ones first."""
    inputs, classes = finished.inputs, finished.classes
    model, sampler, how = inputs.model.open(), inputs.sampler.build(), inputs.how
    likelihood, posterior = inputs.drawn.open(), load_posterior(inputs.fit.path, model)
    assert isinstance(likelihood, Likelihood)
    panel = None
    if inputs.witnesses is not None:
        assert classes is not None
        panel = witness_panel(inputs.witnesses, finished.samples["image"], classes, display)
    doubt = panel.doubt if panel and inputs.options["failed_by"] == "witnesses" else finished.score
    count = max(1, round(inputs.options["failed"] * len(doubt)))
    failed = doubt.argsort(descending=True, stable=True)[:count].tolist()
    propagator = default_propagator(inputs.options["propagator"], inputs.draws)

    def make(indices: list[int]) -> Attempts:
        return attempt(model, posterior, likelihood, sampler, indices, how, inputs.draws, propagator, inputs.seed)

    made = Attempts(**in_parts(inputs, parts, failed, Attempts, make, display))
    verdict = panel.verdict(made) if panel and how.asks else None
    evidence = [verdict.evidence] if verdict else []
    if how.scores:
        evidence.append(score_evidence(made, likelihood, inputs.drawn.functional, how.margin))
    decisions = decide(evidence)
    outcome = rectification_outcome(
        made, decisions, finished.judge, finished.classes_at(made.index), finished.replicates
    )
    facts, notes = panel.facts if panel else {}, list(outcome.notes)
    if verdict:
        facts, notes = facts | verdict.facts, notes + verdict.notes
    outcome = replace(outcome, settings={**outcome.settings, **facts}, notes=notes)
    first = (~decisions[0].accepted).int().argsort(stable=True)[:EXAMPLES]
    ours, control = (chosen(side, d.best)[first] for side, d in zip((made.ours, made.control), decisions))
    images = {"before": made.before[first], "after": ours, "control": control}
    taken = (decision.accepted[first].to(torch.uint8) for decision in decisions)
    verdicts = dict(zip(("accepted", "control_accepted"), taken))
    return outcome, finished.examples(made.index[first], images, made.region[first]) | verdicts


def run_guide(finished: FinishedRun, parts: Path, display: Display) -> Made:
    """Examples: the plain sample, the guided one, the control, and the pixels that were moved at any step."""
    inputs = finished.inputs
    model, sampler = inputs.model.open(), inputs.sampler.build()

    def make(indices: list[int]) -> Guided:
        return guide(model, sampler, indices, inputs.how)

    made = Guided(**in_parts(inputs, parts, list(range(inputs.options["samples"])), Guided, make, display))
    classes, real = finished.classes_at(made.index), finished.judged["real"]
    assert inputs.half_samples is not None
    outcome = guidance_outcome(
        made, finished.judge, classes, real, inputs.neighbours, finished.replicates, inputs.half_samples
    )
    images = {"before": made.before, "after": made.ours, "control": made.control}
    return outcome, finished.examples(made.index, images, made.region)


MAKERS: dict[str, Callable[[FinishedRun, Path, Display], Made]] = {
    "filter": run_filter,
    "best_of_n": run_best_of_n,
    "augment": run_augment,
    "rectify": run_rectify,
    "guide": run_guide,
}


def in_parts(
    inputs: ApplyInputs,
    folder: Path,
    indices: Sequence[int],
    kind: type,
    make: Callable[[list[int]], Any],
    display: Display,
) -> dict[str, Tensor]:
    """The fields of `kind` for all the samples, a batch at a time; finished batches of a killed run are found again."""
    made = []
    with display.bar(f"application {inputs.name}", len(indices)) as advance:
        for start, batch in batches(indices, inputs.sampler.batch_size):
            path = folder / f"part-{start:07d}.safetensors"
            if not path.exists():
                result = make(batch)
                files.write_tensors(path, {field.name: getattr(result, field.name) for field in fields(kind)})
            made.append(files.read_tensors(path)[0])
            advance(len(batch))
    return {field.name: torch.cat([part[field.name] for part in made]) for field in fields(kind)}


def batches(indices: Sequence[int], size: int) -> Iterator[tuple[int, list[int]]]:
    for start in range(0, len(indices), size):
        yield start, list(indices[start : start + size])
