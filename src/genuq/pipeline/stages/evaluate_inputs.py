"""What the evaluation of a run depends on, read off its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from genuq.analysis import EvaluationSettings
from genuq.analysis.metrics import METRICS
from genuq.identity import where_given
from genuq.pipeline.columns import cost, draws_scored, entry_of, leaving_maps, options_of, regenerated, score_columns
from genuq.pipeline.configured import asks_beyond_data, class_names_of, is_image, prompts_of, training_set
from genuq.pipeline.configured_judging import (
    build_likelihood,
    judge_inputs,
    likelihood_inputs,
    prompt_inputs,
    reference_inputs,
    truth_inputs,
)
from genuq.pipeline.inputs import foreign_code
from genuq.pipeline.judging import JudgeInputs, LikelihoodInputs, PromptInputs, TruthInputs
from genuq.pipeline.run import Run
from genuq.pipeline.shared_scores import draws_of_main, partial_settings
from genuq.pipeline.stage import upstream
from genuq.pipeline.stages.probe import probe_upstream
from genuq.propagators import PROPAGATORS
from genuq.scores import SCORES
from genuq.scores.settings import full_setting
from genuq.store.shards import Shards
from genuq.store.upstream import FileContent, Upstream

PROPAGATED = "propagated"  # the map of the run's propagator


@dataclass(frozen=True)
class Column:
    """A score as the table shows it.

    Attributes:
        label: in words.
        kind: score, baseline, control or oracle.
        charged_to: what its network evaluations were counted under; None: those of the propagation.
    """

    label: str
    kind: str
    charged_to: str | None


@dataclass(frozen=True)
class EvaluateInputs:
    """What an evaluation depends on.

    Attributes:
        propagate: whose evaluations are the cost of its score, where the run propagates.
        columns: the scores by name, the run's own first.
        main: the name of the run's own score.
        likelihood: in whose space draws were scored.
        allow_shared_extractor: whether the judge may be the encoder that scores.
        class_names: of the samples' classes.
        posteriors: names of the draws whose quality is told.
        code: of the metrics that are not genuq's own.
        probe: whose evaluations are the cost of the scores of the probe, where the run has any.
        statistics: file of the reference of the FIDs, where not the real images are.
        truth: the oracle that says which samples are bad, where it is not the judge.
        maps: labels of the maps that it judges, by name: of the propagation and of scores.
        prompted: whether the samples' classes are prompts.
        beyond_data: whether some of these prompts are no classes of the data, of which a judge knows nothing.
        prompts: what says how well samples show them.
        partials: the settings that do a part of the work of the run's score, by the names of their columns, and the
            full one by its own, the last; none unless their frontier is asked for.
        remarks: what a reader must know of the data and of the reference, a sentence each.
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
    code: Mapping[str, Any] = where_given(default_factory=dict)
    probe: Upstream | None = where_given(None)
    statistics: FileContent | None = where_given(None)
    truth: TruthInputs | None = where_given(default=None)
    maps: Mapping[str, str] = where_given(default_factory=dict)
    prompted: bool = where_given(False)
    beyond_data: bool = where_given(False)
    prompts: PromptInputs | None = where_given(None)
    partials: Mapping[str, Mapping[str, Any]] = where_given(default_factory=dict)
    remarks: tuple[str, ...] = where_given(())

    @property
    def are_images(self) -> bool:
        return len(self.likelihood.shape) == 3


def inputs_of(run: Run) -> EvaluateInputs:
    """All that the evaluation of a run depends on."""
    return EvaluateInputs(
        sample=upstream(run, "sample"),
        embed=upstream(run, "embed"),
        score=upstream(run, "score"),
        propagate=None if run.config.propagator is None else upstream(run, "propagate"),
        columns={name: column_of(run, name) for name in score_columns(run)},
        main=run.config.score.name,
        metric=evaluation_settings(run),
        judge=judge_inputs(run),
        likelihood=likelihood_inputs(run),
        allow_shared_extractor=run.config.metric.allow_shared_extractor,
        class_names=tuple(class_names_of(run)),
        posteriors=regenerated(run),
        code=foreign_code(METRICS.get(name) for name in run.config.metric.curves),
        probe=probe_upstream(run),
        statistics=statistics_inputs(run),
        truth=truth_inputs(run),
        maps=map_labels(run),
        prompted=bool(prompts_of(run)),
        beyond_data=asks_beyond_data(run),
        prompts=prompt_inputs(run),
        partials=partials_of(run),
        remarks=remarks_of(run),
    )


def column_of(run: Run, name: str) -> Column:
    """One of the run's columns as the table shows it."""
    entry = entry_of(run, name)
    return Column(entry.label, entry.kind, None if entry.source == "propagation" else draws_scored(run, name))


def partials_of(run: Run) -> dict[str, dict[str, Any]]:
    """The settings of the run's score whose frontier is asked for, the full one last."""
    partial, name = partial_settings(run), run.config.score.name
    if not run.config.score.get("frontier"):
        return {}
    return partial | {name: dict(full_setting(SCORES.get(name), options_of(run, name), draws_of_main(run)))}


def cost_of(inputs: EvaluateInputs, column: Column, samples: Mapping[str, Tensor]) -> float:
    """Network evaluations of one sample that a score took beside those of sampling, as counted."""
    if column.charged_to is not None:
        return cost(column.charged_to, samples)
    assert inputs.propagate is not None
    return float(Shards(inputs.propagate.path).read("evaluations").mean())


def evaluation_settings(run: Run) -> EvaluationSettings:
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
        metrics=tuple(settings.curves),
        seed=run.config.seed,
    )


def map_labels(run: Run) -> dict[str, str]:
    """The run's maps, where an oracle knows the wrong pixels: of its propagator and of its disagreements."""
    if truth_inputs(run) is None or not is_image(run):
        return {}
    found = {name: entry_of(run, name).label for name in leaving_maps(run, "path", "probe")}
    if (propagator := run.config.propagator) is not None:
        found[PROPAGATED] = f"Propagated: {PROPAGATORS.get(propagator.name).label}"
    return found


def statistics_inputs(run: Run) -> FileContent | None:
    """The file of the reference that the FIDs compare with, where one is named."""
    path = run.config.metric.statistics
    return None if path is None else FileContent(run.sha256(path), Path(path).expanduser())


def remarks_of(run: Run) -> tuple[str, ...]:
    """What a reader must know of the run's data and reference, a sentence each."""
    given, told = reference_inputs(run), [training_set(run).remark]
    if given is not None:
        told.append(
            f"The reference of the metrics is {given.path.name} (sha256 {given.identity[:8]}) in place of test images."
        )
    return tuple(filter(None, told))


def scoring_space(run: Run) -> str | None:
    """Name of the encoder that scores; None for pixels and points."""
    return encoder_name(build_likelihood(run))


def encoder_name(likelihood: Any) -> str | None:
    """Name of a likelihood's encoder; None for pixels and points."""
    extractor = getattr(likelihood, "extractor", None)
    return None if extractor is None else extractor.name
