"""The stage that reports: results.json, results.csv, plots, the page; and the last lines on the terminal."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor

import genuq
from genuq import files
from genuq.display import Display
from genuq.identity import neutral
from genuq.pipeline.configured import likelihood_inputs, model_inputs, sampler_inputs, training_set
from genuq.pipeline.parts import LikelihoodInputs, ModelInputs, SamplerInputs
from genuq.pipeline.posteriors import MAIN_POSTERIOR
from genuq.pipeline.run import Run
from genuq.pipeline.stage import Stage, upstream
from genuq.pipeline.stages.apply import read_application, read_examples
from genuq.pipeline.stages.evaluate import encoder_name
from genuq.pipeline.stages.propagate import PixelScoreInputs, pixel_score_inputs, propagated, shown_maps
from genuq.pipeline.stages.sample import read_samples, shown
from genuq.report import terminal_table, write_report
from genuq.store.artefact import StageFolder
from genuq.store.upstream import Upstream


@dataclass(frozen=True)
class ReportInputs:
    """What a report shows.

    Attributes:
        application: where the run applies its uncertainty.
        command, name: of the run.
        config: all of it, as it was typed.
        pixels: how propagated variances become a score; None without a propagator.
        propagator: its name.
        data_name, model_names: in the configuration's words: of the data, of the model and of its network.
    """

    fit: Upstream
    sample: Upstream
    embed: Upstream
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
    pixels: PixelScoreInputs | None
    propagator: str | None
    posteriors: Mapping[str, PosteriorWords]
    data_name: str = neutral()
    model_names: tuple[str, str] = neutral()
    config: Mapping[str, Any] = neutral()

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


class Report(Stage[ReportInputs]):
    """Leaves index.html, results.json, results.csv, summary.md and plots/."""

    name = "report"
    version = 4

    def inputs(self, run: Run) -> ReportInputs:
        propagator = run.config.propagator
        return ReportInputs(
            **{name: upstream(run, name) for name in ("fit", "sample", "embed", "score", "evaluate")},
            propagate=None if propagator is None else upstream(run, "propagate"),
            application=None if run.config.application is None else upstream(run, "apply"),
            command=run.command,
            name=run.config.name,
            class_names=tuple(training_set(run).class_names),
            model=model_inputs(run),
            sampler=sampler_inputs(run),
            likelihood=likelihood_inputs(run),
            pixels=pixel_score_inputs(run),
            propagator=None if propagator is None else propagator.name,
            posteriors={
                name: PosteriorWords(entry["name"], entry["draws"]) for name, entry in run.posteriors().items()
            },
            data_name=training_set(run).name,
            model_names=(run.config.model.name, run.config.network.name),
            config=run.plain(),
        )

    def work(self, inputs: ReportInputs, folder: StageFolder, display: Display) -> Mapping[str, Any]:
        samples, results = read_samples(inputs.sample.path), collect(inputs)
        examples = inputs.application if inputs.are_images else None
        with display.busy("drawing the plots and the page"):
            page = write_report(
                folder.path,
                results,
                shown(samples["image"], inputs.are_images),
                shown(samples["draws"], inputs.are_images),
                inputs.maps,
                None if examples is None else read_examples(examples.path),
            )
        return {"page": page.name}

    def execute(self, run: Run, display: Display) -> None:
        super().execute(run, display)
        display.console.print(terminal_table(files.read_json(run.path(self.name) / "results.json")))
        display.say(f"Open {display_path(run.folder / self.name / 'index.html')}")


def display_path(path: Path) -> str:
    """Relative to the current folder where that is shorter."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def collect(inputs: ReportInputs) -> dict[str, Any]:
    """The results of the whole run, in the form that the report reads."""
    notes = {name: getattr(inputs, name).notes() for name in ("fit", "sample", "embed", "score")}
    evaluation = files.read_json(inputs.evaluate.path / "evaluation.json")
    quality, likelihood, application = evaluation.pop("quality"), inputs.likelihood.build(), inputs.application
    entries = [posterior_entry(inputs, name, notes, quality[name]) for name in inputs.posteriors]
    return {
        "name": inputs.name,
        "genuq_version": genuq.__version__,
        "command": inputs.command,
        "config": dict(inputs.config),
        "versions": versions(),
        "summary": evaluation["summary"],
        "data": {
            "name": inputs.data_name,
            "reference_images": evaluation["judge"]["reference"],
            "class_names": list(inputs.class_names),
        },
        "model": model_entry(inputs),
        "sampler": {
            "name": inputs.sampler.solver.name,
            "steps": inputs.sampler.steps,
            "evaluations_per_sample": notes["sample"]["evaluations_per_sample"],
            "guidance_scale": inputs.sampler.guidance_scale,
        },
        "posterior": entries[0],
        "posteriors": entries,
        "likelihood": {
            "name": likelihood.name,
            "extractor": encoder_name(likelihood),
            "dimension": likelihood.dimension,
            "observation_variance": notes["score"]["observation_variance"],
            "how": notes["score"]["how"],
        },
        "judge": evaluation["judge"],
        "scores": evaluation["scores"],
        "samples": evaluation["samples"],
        "maps": maps_entry(inputs),
        "application": None if application is None else read_application(application.path),
        "warnings": [
            note for row in evaluation["scores"] for note in row["notes"] if row["kind"] in ("score", "baseline")
        ],
    }


def versions() -> dict[str, str]:
    return {"python": platform.python_version(), "torch": torch.__version__, "lightning": lightning.__version__}


def model_entry(inputs: ReportInputs) -> dict[str, Any]:
    """The model in words and numbers."""
    model = inputs.model.open()
    return {
        "name": inputs.model_names[0],
        "network": inputs.model_names[1],
        "parameters": sum(parameter.numel() for parameter in model.network.parameters()),
        "prediction": model.prediction,
        "process": model.process.name,
        "checkpoint": inputs.model.path.name,
    }


def maps_entry(inputs: ReportInputs) -> dict[str, Any] | None:
    """What the report says of the maps; None without a propagator."""
    pixels = inputs.pixels
    if pixels is None:
        return None
    how = f"The weights' variance is that of {inputs.posteriors[MAIN_POSTERIOR].kind.replace('_', ' ')}."
    mask = pixels.mask_1hw()
    if mask is not None and pixels.mask is not None:
        how += f" The score counts {int(mask.sum())} of {mask.numel()} pixels, those of {pixels.mask_name}."
    evaluations = float(propagated(pixels.propagate.path)["evaluations"].mean())
    return {
        "propagator": inputs.propagator,
        "solver": inputs.sampler.solver.name,
        "unit": "share of the image's range",
        "score_reduce": pixels.reduce,
        "evaluations_ratio": 1 + evaluations / inputs.sampler.build().evaluations(inputs.model.open()),
        "how": how,
    }


def posterior_entry(
    inputs: ReportInputs, name: str, notes: Mapping[str, Any], quality: Mapping[str, Any]
) -> dict[str, Any]:
    """One posterior: scale, criterion's curves, cost, quality of its draws."""
    words, fitted = inputs.posteriors[name], notes["fit"]["posteriors"][name]
    per_sample, count = notes["sample"]["seconds_per_sample"], inputs.sampler.samples
    return {
        "name": words.kind,
        "label": words.kind if name == MAIN_POSTERIOR else name,
        "head": inputs.model.open().head_name,
        "draws": words.draws,
        "scale": fitted["scale"],
        "evidence": fitted["evidence"],
        "predictive": fitted["predictive"],
        "noise_profile": fitted["noise_profile"],
        "cost": {
            "fit_seconds": fitted["fit_seconds"],
            "trunk_forward_seconds": fitted["trunk_forward_seconds"],
            "sample_seconds": per_sample["unperturbed"] * count,
            "draw_seconds": per_sample[name] * count,
            "evaluations": notes["sample"]["evaluations_per_sample"] * words.draws,
        },
        "quality": quality,
    }
