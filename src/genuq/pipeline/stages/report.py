"""The stage that reports: results.json, results.csv, plots, the page; and the last lines on the terminal."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch

import genuq
from genuq import files
from genuq.display import Display
from genuq.pipeline.posteriors import MAIN_POSTERIOR
from genuq.pipeline.run import Run
from genuq.pipeline.stage import STAGES, Stage
from genuq.pipeline.stages.apply import application_of, examples_of
from genuq.pipeline.stages.evaluate import scoring_space
from genuq.pipeline.stages.propagate import maps_entry, shown_maps
from genuq.pipeline.stages.sample import read_samples, shown
from genuq.report import terminal_table, write_report
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
                shown(run, samples["draws"]),
                shown_maps(run),
                examples_of(run),
            )
        return {"page": page.name}

    def execute(self, run: Run, display: Display) -> None:
        super().execute(run, display)
        display.console.print(terminal_table(files.read_json(run.path(self.name) / "results.json")))
        display.say(f"Open {display_path(run.folder / self.name / 'index.html')}")


def display_path(path: Path) -> str:
    """Relative to the current folder where that is shorter."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def collect(run: Run) -> dict[str, Any]:
    """The results of the whole run, in the form that the report reads."""
    notes = {name: STAGES[name].folder(run).notes() for name in ("fit", "sample", "embed", "score")}
    evaluation = files.read_json(run.path("evaluate") / "evaluation.json")
    entries = posterior_entries(run, notes, evaluation.pop("quality"))
    return {
        "name": run.config.name,
        "genuq_version": genuq.__version__,
        "command": run.command,
        "config": run.plain(),
        "versions": versions(),
        "summary": evaluation["summary"],
        "data": {
            "name": run.training_set.name,
            "reference_images": evaluation["judge"]["reference"],
            "class_names": run.training_set.class_names,
        },
        "model": model_entry(run),
        "sampler": {
            "name": run.config.sampler.name,
            "steps": run.config.sampler.steps,
            "evaluations_per_sample": notes["sample"]["evaluations_per_sample"],
            "guidance_scale": run.config.sampler.guidance_scale,
        },
        "posterior": entries[0],
        "posteriors": entries,
        "likelihood": {
            "name": run.likelihood.name,
            "extractor": scoring_space(run),
            "dimension": run.likelihood.dimension,
            "observation_variance": notes["score"]["observation_variance"],
            "how": notes["score"]["how"],
        },
        "judge": evaluation["judge"],
        "scores": evaluation["scores"],
        "samples": evaluation["samples"],
        "maps": maps_entry(run),
        "application": application_of(run),
        "warnings": [
            note for row in evaluation["scores"] for note in row["notes"] if row["kind"] in ("score", "baseline")
        ],
    }


def versions() -> dict[str, str]:
    return {"python": platform.python_version(), "torch": torch.__version__, "lightning": lightning.__version__}


def model_entry(run: Run) -> dict[str, Any]:
    return {
        "name": run.config.model.name,
        "network": run.config.network.name,
        "parameters": sum(parameter.numel() for parameter in run.model.network.parameters()),
        "prediction": run.model.prediction,
        "process": run.model.process.name,
        "checkpoint": run.checkpoint.name,
    }


def posterior_entries(run: Run, notes: Mapping[str, Any], quality: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One entry a posterior, the run's own first: scale, criterion's curves, cost, quality of its draws."""
    return [posterior_entry(run, name, notes, quality[name]) for name in run.posteriors()]


def posterior_entry(run: Run, name: str, notes: Mapping[str, Any], quality: Mapping[str, Any]) -> dict[str, Any]:
    settings, fitted = run.posteriors()[name], notes["fit"]["posteriors"][name]
    per_sample, count = notes["sample"]["seconds_per_sample"], run.config.sampler.samples
    return {
        "name": settings["name"],
        "label": settings["name"] if name == MAIN_POSTERIOR else name,
        "head": run.model.head_name,
        "draws": settings["draws"],
        "scale": fitted["scale"],
        "evidence": fitted["evidence"],
        "predictive": fitted["predictive"],
        "noise_profile": fitted["noise_profile"],
        "cost": {
            "fit_seconds": fitted["fit_seconds"],
            "trunk_forward_seconds": fitted["trunk_forward_seconds"],
            "sample_seconds": per_sample["unperturbed"] * count,
            "draw_seconds": per_sample[name] * count,
            "evaluations": notes["sample"]["evaluations_per_sample"] * settings["draws"],
        },
        "quality": quality,
    }
