"""What an application sees of a finished run, and how each is run on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
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
from genuq.likelihoods import Likelihood
from genuq.metrics import realism
from genuq.pipeline.columns import functional_of
from genuq.pipeline.posteriors import load_posterior
from genuq.pipeline.run import Run
from genuq.pipeline.stages.embed import read_judged
from genuq.pipeline.stages.propagate import default_propagator
from genuq.pipeline.stages.sample import read_samples, shown
from genuq.pipeline.stages.score import SCORES
from genuq.pipeline.stages.witnesses import asks_witnesses, jury_of

SETTINGS = {"filter": Filter, "augment": Augmentation, "rectify": Rectification, "guide": Guidance}
EXAMPLES = 24
Made = tuple[Outcome, dict[str, Tensor]]


def settings_of(run: Run) -> Any:
    """The application's own settings as the library takes them.

    Raises:
        ConfigurationError: an application that does not exist, or values that cannot work.
    """
    given = run.plain("application")["application"]
    kind = SETTINGS[given["name"]]
    options = {field.name: given[field.name] for field in fields(kind)}
    return kind(**{key: tuple(value) if key == "window" else value for key, value in options.items()})


class Known:
    """What the applications share of a finished run: samples, scores, and the judge."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.samples = read_samples(run)
        columns, _ = files.read_tensors(run.path("score") / SCORES)
        self.score = columns[run.config.score.name]
        self.judged = read_judged(run)
        self.replicates = Replicates(run.config.metric.bootstrap, run.config.seed)
        conditional = bool((self.samples["class"] >= 0).all())
        self.classes = self.samples["class"] if conditional else None

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


def run_filter(known: Known, parts: Path, display: Display) -> Made:
    """Examples: the samples of highest score, which were dropped, beside those of lowest score, and any."""
    rule, metric = settings_of(known.run), known.run.config.metric
    with display.busy("filtering"):
        outcome = filter_outcome(
            rule,
            known.score,
            known.judgement,
            known.judged["real"],
            metric.k,
            known.classes,
            known.replicates,
            metric.half_samples,
            metric.random_repeats,
        )
    kept = torch.as_tensor(rule.keep(known.score, known.classes))
    dropped = torch.ones(len(known.score), dtype=torch.bool).index_fill(0, kept, False).nonzero().flatten()
    best, worst = (rows[known.score[rows].argsort()] for rows in (kept, dropped))
    shown_rows = min(EXAMPLES, len(best), len(worst))
    images = known.samples["image"]
    pairs = {"before": images[worst.flip(0)[:shown_rows]], "after": images[best[:shown_rows]]}
    index = worst.flip(0)[:shown_rows]
    return outcome, _of_rows(known, index, pairs | {"control": images[:shown_rows]}, best[:shown_rows])


def _of_rows(known: Known, index: Tensor, images: Mapping[str, Tensor], after: Tensor) -> dict[str, Tensor]:
    """Examples whose `after` is another sample, `after_index`; each is judged by its own class."""
    judged, first = known.judgement.measures, known.judgement.primary
    rows = {"before": index, "after": after, "control": torch.arange(len(index))}
    values = {f"{name}_judged": judged[first][rows[name]].double() for name in rows}
    return {"index": index, "after_index": after, **{k: shown(known.run, v) for k, v in images.items()}, **values}


def run_best_of_n(known: Known, parts: Path, display: Display) -> Made:
    """Examples: the candidate of highest score, the chosen one, and the first of each group."""
    n = known.run.config.application.n
    outcome = best_of_n_outcome(n, known.score, known.judgement, known.classes, known.replicates)
    groups = candidate_groups(len(known.score), n, known.classes)[:EXAMPLES]
    best, worst = (torch.as_tensor(best_of(sign * known.score, groups)) for sign in (1, -1))
    images, judged = known.samples["image"], known.judgement
    rows = {"before": worst, "after": best, "control": torch.as_tensor(groups[:, 0])}
    values = {f"{name}_judged": judged.measures[judged.primary][which].double() for name, which in rows.items()}
    pictures = {name: shown(known.run, images[which]) for name, which in rows.items()}
    return outcome, {"index": worst, "after_index": best, **pictures, **values}


def run_augment(known: Known, parts: Path, display: Display) -> Made:
    """Examples: a sample, its first new one, and the control's."""
    run = known.run
    how, posterior = settings_of(run), load_posterior(run)
    propagator = default_propagator(run, run.config.application.propagator)

    def make(indices: list[int]) -> Augmented:
        return augment(run.model, posterior, run.sampler, indices, how, propagator, run.config.seed)

    made = Augmented(**in_parts(run, parts, list(range(run.config.application.samples)), Augmented, make, display))
    outcome = augmentation_outcome(made, known.judge, known.classes_at(made.index), known.replicates)
    images = {"before": made.before, "after": made.ours[:, 0], "control": made.control[:, 0]}
    return outcome, known.examples(made.index, images)


def run_rectify(known: Known, parts: Path, display: Display) -> Made:
    """Examples: failed samples, the best attempt at each, and the control's best; the accepted ones first."""
    run, classes, likelihood = known.run, known.classes, known.run.likelihood
    given, how, posterior = run.plain("application")["application"], settings_of(run), load_posterior(run)
    assert isinstance(likelihood, Likelihood)
    jury = None
    if asks_witnesses(given):
        assert classes is not None
        jury = jury_of(run, given, known.samples["image"], classes, display)
    doubt = jury.doubt if jury and given["failed_by"] == "witnesses" else known.score
    count = max(1, round(given["failed"] * len(doubt)))
    failed = doubt.argsort(descending=True, stable=True)[:count].tolist()
    propagator, draws = default_propagator(run, given["propagator"]), run.config.posterior.draws

    def make(indices: list[int]) -> Attempts:
        return attempt(run.model, posterior, likelihood, run.sampler, indices, how, draws, propagator, run.config.seed)

    made = Attempts(**in_parts(run, parts, failed, Attempts, make, display))
    verdict = jury.verdict(made) if jury and how.asks else None
    evidence = [verdict.evidence] if verdict else []
    if how.scores:
        evidence.append(score_evidence(made, likelihood, functional_of(run), how.margin))
    decisions = decide(evidence)
    outcome = rectification_outcome(made, decisions, known.judge, known.classes_at(made.index), known.replicates)
    facts, notes = jury.facts if jury else {}, list(outcome.notes)
    if verdict:
        facts, notes = facts | verdict.facts, notes + verdict.notes
    outcome = replace(outcome, settings={**outcome.settings, **facts}, notes=notes)
    first = (~decisions[0].accepted).int().argsort(stable=True)[:EXAMPLES]
    ours, control = (chosen(side, d.best)[first] for side, d in zip((made.ours, made.control), decisions))
    images = {"before": made.before[first], "after": ours, "control": control}
    taken = (decision.accepted[first].to(torch.uint8) for decision in decisions)
    verdicts = dict(zip(("accepted", "control_accepted"), taken))
    return outcome, known.examples(made.index[first], images, made.region[first]) | verdicts


def run_guide(known: Known, parts: Path, display: Display) -> Made:
    """Examples: the plain sample, the guided one, the control, and the pixels that were moved at any step."""
    run, how = known.run, settings_of(known.run)

    def make(indices: list[int]) -> Guided:
        return guide(run.model, run.sampler, indices, how)

    made = Guided(**in_parts(run, parts, list(range(run.config.application.samples)), Guided, make, display))
    metric, classes = run.config.metric, known.classes_at(made.index)
    real = known.judged["real"]
    outcome = guidance_outcome(made, known.judge, classes, real, metric.k, known.replicates, metric.half_samples)
    images = {"before": made.before, "after": made.ours, "control": made.control}
    return outcome, known.examples(made.index, images, made.region)


MAKERS: dict[str, Callable[[Known, Path, Display], Made]] = {
    "filter": run_filter,
    "best_of_n": run_best_of_n,
    "augment": run_augment,
    "rectify": run_rectify,
    "guide": run_guide,
}


def in_parts(
    run: Run, folder: Path, indices: Sequence[int], kind: type, make: Callable[[list[int]], Any], display: Display
) -> dict[str, Tensor]:
    """The fields of `kind` for all the samples, a batch at a time; finished batches of a killed run are found again."""
    made = []
    with display.bar(f"application {run.config.application.name}", len(indices)) as advance:
        for start, batch in batches(indices, run.config.sampler.batch_size):
            path = folder / f"part-{start:07d}.safetensors"
            if not path.exists():
                found = make(batch)
                files.write_tensors(path, {field.name: getattr(found, field.name) for field in fields(kind)})
            made.append(files.read_tensors(path)[0])
            advance(len(batch))
    return {field.name: torch.cat([part[field.name] for part in made]) for field in fields(kind)}


def batches(indices: Sequence[int], size: int) -> Iterator[tuple[int, list[int]]]:
    for start in range(0, len(indices), size):
        yield start, list(indices[start : start + size])
