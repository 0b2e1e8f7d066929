"""The stage that evaluates: does the score find the samples that an independent judge calls bad?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from genuq import files
from genuq.analysis import (
    EvaluationSettings,
    SampleFacts,
    ScoredSamples,
    describe_judge,
    evaluate_scores,
    summarise,
)
from genuq.display import Display
from genuq.extractors.judge import Judge
from genuq.files import plain
from genuq.metrics import MetricLabel, frechet_distance, membership, realism
from genuq.pipeline.columns import cost, entry_of, score_columns
from genuq.pipeline.configured import build_likelihood, judge_inputs, likelihood_inputs, training_set
from genuq.pipeline.parts import JudgeInputs, LikelihoodInputs
from genuq.pipeline.run import Run
from genuq.pipeline.stage import Stage, upstream
from genuq.pipeline.stages.embed import read_judged
from genuq.pipeline.stages.sample import read_samples, shown
from genuq.pipeline.stages.score import read_scores
from genuq.scores import complexity
from genuq.store.artefact import StageFolder
from genuq.store.upstream import Upstream

JUDGED = ("confidence", "predicted", "realism", "membership", "complexity", "bad")
WHOLE = ("index", "class", "predicted", "member", "bad")  # columns of whole numbers


@dataclass(frozen=True)
class Column:
    """A score as the table shows it.

    Attributes:
        label: in words.
        kind: score, baseline, control or oracle.
    """

    label: str
    kind: str


@dataclass(frozen=True)
class EvaluateInputs:
    """What an evaluation depends on.

    Attributes:
        propagate: whose evaluations are the cost of its score, where the run propagates.
        columns: the scores by name, the run's own first.
        main: the name of the run's own score.
        likelihood: in whose space draws were scored.
        allow_shared_extractor: whether the judge may be the encoder that scores.
        class_names: of the training images.
        posteriors: names of the draws whose quality is told.
    """

    sample: Upstream
    embed: Upstream
    score: Upstream
    propagate: Upstream | None
    columns: Mapping[str, Column]
    main: str
    metric: EvaluationSettings
    judge: JudgeInputs
    likelihood: LikelihoodInputs
    allow_shared_extractor: bool
    class_names: tuple[str, ...]
    posteriors: tuple[str, ...]

    @property
    def are_images(self) -> bool:
        return len(self.likelihood.shape) == 3


class Evaluate(Stage[EvaluateInputs]):
    """Leaves evaluation.json: the parts `summary`, `judge`, `scores`, `quality`, `samples` of the results.

    And samples.safetensors, the same samples as one (N,) column each, for `genuq-table --scores`.
    """

    name = "evaluate"
    version = 3

    def inputs(self, run: Run) -> EvaluateInputs:
        entries = {name: entry_of(run, name) for name in score_columns(run)}
        return EvaluateInputs(
            sample=upstream(run, "sample"),
            embed=upstream(run, "embed"),
            score=upstream(run, "score"),
            propagate=None if run.config.propagator is None else upstream(run, "propagate"),
            columns={name: Column(entry.label, entry.kind) for name, entry in entries.items()},
            main=run.config.score.name,
            metric=settings_of(run),
            judge=judge_inputs(run),
            likelihood=likelihood_inputs(run),
            allow_shared_extractor=run.config.metric.allow_shared_extractor,
            class_names=tuple(training_set(run).class_names),
            posteriors=tuple(run.posteriors()),
        )

    def work(self, inputs: EvaluateInputs, folder: StageFolder, display: Display) -> Mapping[str, Any]:
        samples, judged = read_samples(inputs.sample.path), read_judged(inputs.embed.path)
        columns = read_scores(inputs.score.path)
        facts = sample_facts(inputs, samples, judged)
        propagated = None if inputs.propagate is None else inputs.propagate.path
        scores = {
            name: ScoredSamples(columns[name], column.label, column.kind, cost(name, samples, propagated))
            for name, column in inputs.columns.items()
        }
        with display.bar("evaluating", len(scores) + 1) as advance:
            rows = evaluate_scores(
                scores,
                judged["image"],
                judged["real"],
                SampleFacts(
                    targets={name: facts[name] for name in ("confidence", "realism", "membership") if name in facts},
                    bad=facts.get("bad"),
                    classes=facts.get("class"),
                    complexity=facts.get("complexity"),
                ),
                inputs.metric,
                progress=lambda done, total, what: advance(1),
            )
        table = sample_columns(samples, columns, facts)
        files.write_tensors(folder.path / "samples.safetensors", table)
        evaluation: dict[str, Any] = {
            "summary": summarise(rows, inputs.main),
            "judge": judge_entry(inputs, judged, facts),
            "scores": rows,
            "quality": {name: quality_of_draws(judged, name) for name in inputs.posteriors},
            "samples": sample_table(table, inputs.class_names),
        }
        files.write_json(folder.path / "evaluation.json", plain(evaluation))
        return {"sentence": evaluation["summary"]["sentence"]}


def settings_of(run: Run) -> EvaluationSettings:
    """How the run's samples are evaluated."""
    settings = run.config.metric
    return EvaluationSettings(
        k=settings.k,
        fractions=tuple(settings.fractions),
        bins=settings.bins,
        bootstrap=settings.bootstrap,
        half_samples=settings.half_samples,
        random_repeats=settings.random_repeats,
        per_class=settings.per_class,
        seed=run.config.seed,
    )


def sample_facts(
    inputs: EvaluateInputs, samples: Mapping[str, Tensor], judged: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """What the judge and the images tell of each sample, by name.

    `bad` is the truth where it is known, else that the judge sees another class than the one asked for.
    """
    k, judge = inputs.metric.k, inputs.judge.open()
    facts = {
        "realism": realism(judged["real"], judged["image"], k),
        "membership": membership(judged["real"], judged["image"], k).double(),
    }
    conditional = bool((samples["class"] >= 0).all())
    if conditional:
        facts["class"] = samples["class"]
    if inputs.are_images:
        facts["complexity"] = complexity(shown(samples["image"], are_images=True))["png_bytes"]
    if judge.probabilities is not None:
        probabilities = judge.probabilities(judged["image"])
        facts["predicted"] = probabilities.argmax(1)
        if conditional:
            facts["confidence"] = probabilities.gather(1, samples["class"][:, None])[:, 0]
            facts["bad"] = (facts["predicted"] != samples["class"]).double()
        else:
            facts["confidence"] = probabilities.amax(1)
    if judge.truth is not None:
        facts["bad"] = judge.truth(samples["image"]).double()
    return facts


def judge_entry(inputs: EvaluateInputs, judged: Mapping[str, Tensor], facts: Mapping[str, Tensor]) -> dict[str, Any]:
    """Who judged, in how many dimensions and with how many neighbours, and how far that can be trusted."""
    judge: Judge = inputs.judge.open()
    label = MetricLabel(judge.name, judged["real"].shape[1], inputs.metric.k, len(judged["image"]), len(judged["real"]))
    classified = "predicted" in facts and "bad" in facts
    return describe_judge(
        label,
        encoder_name(inputs.likelihood.build()),
        allow_shared=inputs.allow_shared_extractor,
        real_test_accuracy=judge.real_test_accuracy,
        sample_accuracy=1 - float(facts["bad"].mean()) if classified else None,
    )


def scoring_space(run: Run) -> str | None:
    """Name of the encoder that scores; None for pixels and points."""
    return encoder_name(build_likelihood(run))


def encoder_name(likelihood: Any) -> str | None:
    """Name of a likelihood's encoder; None for pixels and points."""
    extractor = getattr(likelihood, "extractor", None)
    return None if extractor is None else extractor.name


def quality_of_draws(judged: Mapping[str, Tensor], name: str) -> dict[str, Any]:
    """FID of the unperturbed samples and of each draw's: a draw that ruins the images says nothing about them."""
    draws_NMD = judged[name]
    return {
        "fid_map": frechet_distance(judged["real"], judged["image"]),
        "fid_draws": [frechet_distance(judged["real"], draws_NMD[:, m]) for m in range(draws_NMD.shape[1])],
    }


def sample_columns(
    samples: Mapping[str, Tensor], scores: Mapping[str, Tensor], facts: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """What is known of each sample as (N,) columns: index, class (-1: none), every score, and what the judge says."""
    judged = {"member" if name == "membership" else name: facts[name] for name in JUDGED if name in facts}
    scored = {f"score_{name}": values for name, values in scores.items()}
    columns: dict[str, Tensor] = {"index": samples["index"], "class": samples["class"], **scored, **judged}
    return {name: values.long() if name in WHOLE else values.double() for name, values in columns.items()}


def sample_table(columns: Mapping[str, Tensor], class_names: Sequence[str]) -> dict[str, Any]:
    """The same, one row a sample, with the class by its name beside its number."""
    classes = [code if code >= 0 else None for code in columns["class"].tolist()]
    listed = {
        "index": columns["index"].tolist(),
        "class": classes,
        "class_name": [None if code is None else class_names[code] for code in classes],
    }
    listed |= {name: values.tolist() for name, values in columns.items() if name not in listed}
    return {"columns": list(listed), "rows": [list(row) for row in zip(*listed.values())]}
