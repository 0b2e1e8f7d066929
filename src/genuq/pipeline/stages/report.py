"""The stage that reports: results.json, results.csv, plots, the page; and the last lines on the terminal."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch

import genuq
from genuq import entries
from genuq.analysis.results import (
    CostEntry,
    DataEntry,
    DrawsQuality,
    FitSummary,
    LikelihoodEntry,
    ModelEntry,
    PosteriorEntry,
    Results,
    SamplerEntry,
    read_evaluation,
)
from genuq.display import Display
from genuq.pipeline.run import OWN, Run
from genuq.pipeline.stage import STAGES, Stage
from genuq.pipeline.stages.apply import application_of, examples_of
from genuq.pipeline.stages.evaluate import scoring_space
from genuq.pipeline.stages.propagate import maps_entry, shown_maps
from genuq.pipeline.stages.sample import read_samples, shown
from genuq.report import terminal_table, write_report
from genuq.report.run.writing import RESULTS
from genuq.store.artefact import StageFolder


class Report(Stage):
    """Leaves index.html, results.json, results.csv, summary.md and plots/."""

    name = "report"
    version = 3
    inputs = ("evaluate",)

    def needs(self, run: Run) -> tuple[str, ...]:
        return self.inputs if run.config.application is None else (*self.inputs, "apply")

    def settings(self, run: Run) -> dict[str, Any]:
        return super().settings(run) | {"command": run.command, "name": run.config.name}

    def work(self, run: Run, folder: StageFolder, display: Display) -> Mapping[str, Any]:
        samples, results = read_samples(run), collect(run)
        with display.busy("drawing the plots and the page"):
            page = write_report(
                folder.path,
                results,
                shown(run, samples["image"]),
                shown(run, samples[OWN]),
                shown_maps(run),
                examples_of(run),
            )
        return {"page": page.name}

    def execute(self, run: Run, display: Display) -> None:
        super().execute(run, display)
        display.console.print(terminal_table(entries.read(run.path(self.name) / RESULTS, Results)))
        display.say(f"Open {display_path(run.folder / self.name / 'index.html')}")


def display_path(path: Path) -> str:
    """Relative to the current folder where that is shorter."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def collect(run: Run) -> Results:
    """The results of the whole run, in the form that the report reads."""
    notes = {name: STAGES[name].folder(run).notes() for name in ("fit", "sample", "score")}
    evaluation = read_evaluation(run.path("evaluate"))
    posteriors = posterior_entries(run, notes, evaluation.quality)
    return Results(
        name=run.config.name,
        genuq_version=genuq.__version__,
        command=run.command,
        config=run.plain(),
        versions=versions(),
        summary=evaluation.summary,
        data=DataEntry(run.training_set.name, evaluation.judge.reference, run.training_set.class_names),
        model=model_entry(run),
        sampler=SamplerEntry(
            name=run.config.sampler.name,
            steps=run.config.sampler.steps,
            evaluations_per_sample=notes["sample"]["evaluations_per_sample"],
            guidance_scale=run.config.sampler.guidance_scale,
        ),
        posterior=posteriors[0],
        posteriors=posteriors,
        likelihood=LikelihoodEntry(
            name=run.likelihood.name,
            extractor=scoring_space(run),
            dimension=run.likelihood.dimension,
            observation_variance=notes["score"]["observation_variance"],
            how=notes["score"]["how"],
        ),
        judge=evaluation.judge,
        scores=evaluation.scores,
        samples=evaluation.samples,
        maps=maps_entry(run),
        application=application_of(run),
        warnings=[note for row in evaluation.scores for note in row.notes if row.kind in ("score", "baseline")],
    )


def versions() -> dict[str, str]:
    return {"python": platform.python_version(), "torch": torch.__version__, "lightning": lightning.__version__}


def model_entry(run: Run) -> ModelEntry:
    return ModelEntry(
        name=run.config.model.name,
        network=run.config.network.name,
        parameters=sum(parameter.numel() for parameter in run.model.network.parameters()),
        prediction=run.model.prediction,
        process=run.model.process.name,
        checkpoint=run.checkpoint.name,
    )


def posterior_entries(run: Run, notes: Mapping[str, Any], quality: Mapping[str, DrawsQuality]) -> list[PosteriorEntry]:
    """One entry a posterior, the run's own first: scale, criterion's curves, cost, quality of its draws."""
    return [posterior_entry(run, name, notes, quality[name]) for name in run.posteriors()]


def posterior_entry(run: Run, name: str, notes: Mapping[str, Any], quality: DrawsQuality) -> PosteriorEntry:
    settings = run.posteriors()[name]
    fitted = entries.from_json(FitSummary, notes["fit"]["posteriors"][name], f"the notes of fit: posteriors.{name}")
    per_sample, count = notes["sample"]["seconds_per_sample"], run.config.sampler.samples
    return PosteriorEntry(
        name=settings["name"],
        label=settings["name"] if name == OWN else name,
        head=run.model.head_name,
        draws=settings["draws"],
        scale=fitted.scale,
        evidence=fitted.evidence,
        predictive=fitted.predictive,
        noise_profile=fitted.noise_profile,
        cost=CostEntry(
            fit_seconds=fitted.fit_seconds,
            trunk_forward_seconds=fitted.trunk_forward_seconds,
            sample_seconds=per_sample["unperturbed"] * count,
            draw_seconds=per_sample[name] * count,
            evaluations=notes["sample"]["evaluations_per_sample"] * settings["draws"],
        ),
        quality=quality,
    )
