"""The stage that reports: results.json, results.csv, plots, the page; and the last lines on the terminal."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import genuq
from genuq import entries
from genuq.analysis.evaluation_entries import DrawsQuality, read_evaluation
from genuq.analysis.results import (
    CostEntry,
    DataEntry,
    FitSummary,
    LikelihoodEntry,
    MapsEntry,
    ModelEntry,
    PosteriorEntry,
    Results,
    SamplerEntry,
)
from genuq.display import Display
from genuq.identity import neutral, where_given
from genuq.pipeline.as_released import as_released
from genuq.pipeline.configured import (
    class_names_of,
    model_inputs,
    model_names,
    sampler_inputs,
    training_set,
    why_direct,
)
from genuq.pipeline.configured_judging import likelihood_inputs
from genuq.pipeline.inputs import ModelInputs, SamplerInputs
from genuq.pipeline.judging import LikelihoodInputs
from genuq.pipeline.run import MAIN_POSTERIOR, Run
from genuq.pipeline.stage import Stage, upstream
from genuq.pipeline.stages.apply import read_application, read_examples
from genuq.pipeline.stages.evaluate_inputs import encoder_name
from genuq.pipeline.stages.fit import doubts_of
from genuq.pipeline.stages.pilot import pilot_upstream, read_pilot
from genuq.pipeline.stages.propagate import MaskInputs, mask_inputs, propagated, shown_maps
from genuq.pipeline.stages.sample import DrawnRows, read_samples, shown
from genuq.report.run import RESULTS
from genuq.store.artefact import StageFolder
from genuq.store.scales import FULL
from genuq.store.upstream import Upstream


@dataclass(frozen=True)
class ReportInputs:
    """What a report shows.

    Attributes:
        application: where the run applies its uncertainty.
        command, name: of the run.
        config: all of it, as it was typed.
        propagator: its name, and how a score is made of the variances; None without one.
        mask: of the pixels that the score counts.
        direct: why the model's scheduler samples itself, where it does so unasked.
        pilot: that chose the setting of the run's score, where one did.
        as_released: what of the run keeps faults of released code.
        scale: that the run was made at, where it is not the full one.
        data_name, model_names: in the configuration's words: of the data, of the model and of its network.
    """

    fit: Upstream
    sample: Upstream
    score: Upstream
    evaluate: Upstream
    propagate: Upstream | None
    application: Upstream | None
    command: str
    name: str
    class_names: tuple[str, ...]
    model: ModelInputs
    sampler: SamplerInputs
    likelihood: LikelihoodInputs
    propagator: PropagatorWords | None
    mask: MaskInputs | None
    posteriors: Mapping[str, PosteriorWords]
    data_name: str = neutral()
    model_names: tuple[str, str] = neutral()
    config: Mapping[str, Any] = neutral()
    direct: str | None = where_given(None)
    pilot: Upstream | None = where_given(None)
    as_released: tuple[str, ...] = where_given(())
    scale: str | None = where_given(None)

    @property
    def are_images(self) -> bool:
        return len(self.likelihood.shape) == 3

    @property
    def maps(self) -> Tensor | None:
        """Of the propagated uncertainty of images."""
        return None if self.propagate is None or not self.are_images else shown_maps(self.propagate.path)


@dataclass(frozen=True)
class PosteriorWords:
    """A posterior as the report lists it.

    Attributes:
        kind: name of its kind.
        draws: M.
    """

    kind: str
    draws: int


@dataclass(frozen=True)
class PropagatorWords:
    """The propagator as the report tells of it.

    Attributes:
        name: of the propagator.
        reduce: how a score is made of the variances.
    """

    name: str
    reduce: str


class Report(Stage[ReportInputs]):
    """Leaves index.html, results.json, results.csv, summary.md and plots/."""

    name = "report"
    version = 6

    def inputs(self, run: Run) -> ReportInputs:
        propagator = run.config.propagator
        return ReportInputs(
            **{name: upstream(run, name) for name in ("fit", "sample", "score", "evaluate")},
            propagate=None if propagator is None else upstream(run, "propagate"),
            application=None if run.config.application is None else upstream(run, "apply"),
            command=run.command,
            name=run.config.name,
            class_names=tuple(class_names_of(run)),
            model=model_inputs(run),
            sampler=sampler_inputs(run),
            direct=why_direct(run),
            likelihood=likelihood_inputs(run),
            propagator=None if propagator is None else PropagatorWords(propagator.name, propagator.reduce),
            mask=mask_inputs(run),
            pilot=pilot_upstream(run),
            as_released=as_released(run),
            scale=None if run.scale == FULL else run.scale,
            posteriors={
                name: PosteriorWords(entry["name"], entry["draws"]) for name, entry in run.posteriors().items()
            },
            data_name=training_set(run).name,
            model_names=model_names(run),
            config=run.plain(),
        )

    def work(self, inputs: ReportInputs, folder: StageFolder, display: Display) -> Mapping[str, Any]:
        from genuq.report.run.writing import write_report  # matplotlib is slow to import

        samples, results = read_samples(inputs.sample.path), collect(inputs)
        examples = inputs.application if inputs.are_images else None
        with display.busy("drawing the plots and the page"):
            page = write_report(
                folder.path,
                results,
                shown(samples["image"], inputs.are_images),
                DrawnRows(inputs.sample.path, inputs.are_images),
                inputs.maps,
                None if examples is None else read_examples(examples.path),
            )
        return {"page": page.name}

    def execute(self, run: Run, display: Display) -> None:
        from genuq.report.run.tables import terminal_table

        super().execute(run, display)
        display.console.print(terminal_table(entries.read(run.path(self.name) / RESULTS, Results)))
        display.say(f"Open {display_path(run.folder / self.name / 'index.html')}")


def display_path(path: Path) -> str:
    """Relative to the current folder where that is shorter."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def collect(inputs: ReportInputs) -> Results:
    """The results of the whole run, in the form that the report reads."""
    notes = {name: getattr(inputs, name).notes() for name in ("fit", "sample", "score")}
    evaluation = read_evaluation(inputs.evaluate.path)
    posteriors = [posterior_entry(inputs, name, notes, evaluation.quality.get(name)) for name in inputs.posteriors]
    return Results(
        name=inputs.name,
        genuq_version=genuq.__version__,
        command=inputs.command,
        config=dict(inputs.config),
        versions=versions(),
        scale=inputs.scale or FULL,
        summary=evaluation.summary,
        data=DataEntry(inputs.data_name, evaluation.judge.reference, list(inputs.class_names)),
        model=model_entry(inputs),
        sampler=SamplerEntry(
            name=solver_name(inputs),
            steps=inputs.sampler.steps,
            evaluations_per_sample=notes["sample"]["evaluations_per_sample"],
            guidance_scale=inputs.sampler.guidance_scale,
        ),
        posterior=posteriors[0],
        posteriors=posteriors,
        likelihood=likelihood_entry(inputs, notes["score"]),
        judge=evaluation.judge,
        truth=evaluation.truth,
        judged_maps=evaluation.judged_maps,
        prompts=evaluation.prompts,
        scores=evaluation.scores,
        frontier=evaluation.frontier,
        pilot=None if inputs.pilot is None else read_pilot(inputs.pilot.path),
        samples=evaluation.samples,
        maps=maps_entry(inputs),
        application=None if inputs.application is None else read_application(inputs.application.path),
        warnings=[
            *inputs.as_released,
            *([] if inputs.direct is None else [inputs.direct]),
            *doubts_of(notes["fit"]["posteriors"]),
            *(note for row in evaluation.scores for note in row.notes if row.kind in ("score", "baseline")),
        ],
    )


def likelihood_entry(inputs: ReportInputs, notes: Mapping[str, Any]) -> LikelihoodEntry:
    """The likelihood, and how the variance of its observations was chosen.

    Args:
        notes: of the stage score.
    """
    likelihood = inputs.likelihood.build()
    return LikelihoodEntry(
        name=likelihood.name,
        extractor=encoder_name(likelihood),
        dimension=likelihood.dimension,
        observation_variance=notes.get("observation_variance"),
        how=notes.get("how", "no score compares samples under draws"),
    )


def versions() -> dict[str, str]:
    return {"python": platform.python_version(), "torch": torch.__version__, "lightning": metadata.version("lightning")}


def solver_name(inputs: ReportInputs) -> str:
    """What samples; of a model's own scheduler the name of its class."""
    return inputs.sampler.build(inputs.model.open()).solver.name


def model_entry(inputs: ReportInputs) -> ModelEntry:
    """The model in words and numbers."""
    model = inputs.model.open()
    return ModelEntry(
        name=inputs.model_names[0],
        network=inputs.model_names[1],
        parameters=sum(parameter.numel() for parameter in model.network.parameters()),
        prediction=str(model.prediction),
        process=model.process.name,
        checkpoint=inputs.model.file_name,
    )


def maps_entry(inputs: ReportInputs) -> MapsEntry | None:
    """What the report says of the maps; None without a propagator."""
    if inputs.propagate is None or inputs.propagator is None:
        return None
    how = f"The weights' variance is that of {inputs.posteriors[MAIN_POSTERIOR].kind.replace('_', ' ')}."
    if inputs.mask is not None:
        mask = inputs.mask.open()
        how += f" The score counts {int(mask.sum())} of {mask.numel()} pixels, those of {inputs.mask.name}."
    model = inputs.model.open()
    evaluations = float(propagated(inputs.propagate.path)["evaluations"].mean())
    return MapsEntry(
        propagator=inputs.propagator.name,
        solver=solver_name(inputs),
        unit="share of the image's range",
        score_reduce=inputs.propagator.reduce,
        evaluations_ratio=1 + evaluations / inputs.sampler.build(model).evaluations(model),
        how=how,
    )


def posterior_entry(
    inputs: ReportInputs, name: str, notes: Mapping[str, Any], quality: DrawsQuality | None
) -> PosteriorEntry:
    """One posterior: scale, criterion's curves, cost, quality of its draws, where samples were made anew under them."""
    words = inputs.posteriors[name]
    fitted = entries.from_json(FitSummary, notes["fit"]["posteriors"][name], f"the notes of fit: posteriors.{name}")
    per_sample, count = notes["sample"]["seconds_per_sample"], inputs.sampler.samples
    return PosteriorEntry(
        name=words.kind,
        label=words.kind if name == MAIN_POSTERIOR else name,
        head=inputs.model.open().head_name,
        draws=words.draws,
        scale=fitted.scale,
        evidence=fitted.evidence,
        predictive=fitted.predictive,
        noise_profile=fitted.noise_profile,
        cost=CostEntry(
            fit_seconds=fitted.fit_seconds,
            trunk_forward_seconds=fitted.trunk_forward_seconds,
            sample_seconds=per_sample["unperturbed"] * count,
            draw_seconds=per_sample.get(name, 0.0) * count,
            evaluations=0 if quality is None else notes["sample"]["evaluations_per_sample"] * words.draws,
        ),
        quality=quality or DrawsQuality(None, []),
        dominance=fitted.dominance,
    )
