"""The stage that uses the uncertainty: one of the applications on the run's samples, beside its control."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from genuq import files
from genuq.applications import APPLICATIONS, Rectification, candidate_groups, cut_time
from genuq.display import Display
from genuq.errors import ConfigurationError, did_you_mean
from genuq.files import plain
from genuq.pipeline.configured import (
    architecture_of,
    build_sampler,
    is_image,
    judge_inputs,
    model_inputs,
    sampler_inputs,
    training_set,
)
from genuq.pipeline.run import Run
from genuq.pipeline.stage import Stage, upstream
from genuq.pipeline.stages.applications import MAKERS, SETTINGS, ApplyInputs, FinishedRun, settings_of
from genuq.pipeline.stages.propagate import default_propagator, require_variance
from genuq.pipeline.stages.score import draw_scoring
from genuq.pipeline.stages.witnesses import OF_WITNESSES, check_witnesses, witness_inputs
from genuq.store.artefact import StageFolder

SHOWN = ("before", "after", "control", "accepted", "control_accepted")  # in the report


class Apply(Stage[ApplyInputs]):
    """Leaves application.json (the part `application` of the results), application.md, and examples.safetensors.

    The examples, in the order of their scores where the application chose by them, else of their indices: `index`
    (E,), `before`, `after`, `control` (uint8 images, or points), `mask` (E, 1, H, W) where only a region was changed,
    and of each of the three the judge's first measure, `before_judged` (E,) and so on. Of a rectification the accepted
    ones come first, and `accepted` and `control_accepted` (E,) tell them.

    Without an application it does nothing and leaves nothing.
    """

    name = "apply"
    version = 3

    def inputs(self, run: Run) -> ApplyInputs:
        return apply_inputs(run)

    def applies(self, run: Run) -> bool:
        return run.config.application is not None

    def work(self, inputs: ApplyInputs, folder: StageFolder, display: Display) -> Mapping[str, Any]:
        finished = FinishedRun(inputs)
        outcome, examples = MAKERS[inputs.name](finished, folder.path / "parts", display)
        files.write_tensors(folder.path / "examples.safetensors", examples)
        entry = outcome.as_dict()
        entry["settings"] = dict(inputs.shown_settings) | entry["settings"]
        entry["judge"] = inputs.judge.open().name
        entry["examples"] = {"file": f"{self.name}/examples.safetensors", "count": len(examples["index"])}
        files.write_json(folder.path / "application.json", plain(entry))
        files.write_text(folder.path / "application.md", as_markdown(inputs.command, entry))
        shutil.rmtree(folder.path / "parts", ignore_errors=True)
        display.say(outcome.sentence)
        return {"sentence": outcome.sentence}


def apply_inputs(run: Run) -> ApplyInputs:
    """What the run's application depends on; of its settings those that it reads."""
    settings, metric = run.plain("application")["application"], run.config.metric
    name = settings["name"]
    how = settings_of(run) if name in SETTINGS else None
    if isinstance(how, Rectification) and not how.scores:
        how = replace(how, margin=Rectification.margin)
    own = set() if how is None else {part.name for part in fields(how)}
    return ApplyInputs(
        seed=run.config.seed,
        model=model_inputs(run),
        fit=upstream(run, "fit"),
        sample=upstream(run, "sample"),
        embed=upstream(run, "embed"),
        score=upstream(run, "score"),
        sampler=sampler_inputs(run),
        judge=judge_inputs(run),
        name=name,
        how=how,
        options={key: value for key, value in settings.items() if key not in {*own, *OF_WITNESSES, "name"}},
        witnesses=witness_inputs(run, settings) if name == "rectify" else None,
        main=run.config.score.name,
        drawn=draw_scoring(run),
        draws=run.config.posterior.draws,
        neighbours=metric.k,
        bootstrap=metric.bootstrap,
        half_samples=metric.half_samples if name in ("filter", "guide") else None,
        random_repeats=metric.random_repeats if name == "filter" else None,
        shown_settings=settings,
        command=run.command,
    )


def applied(run: Run) -> bool:
    """Whether this run uses the uncertainty in some application."""
    return run.config.application is not None and Apply.name in run.config.stages


def read_application(folder: Path) -> dict[str, Any]:
    """What the stage has left, for the report."""
    return files.read_json(folder / "application.json")


def read_examples(folder: Path) -> dict[str, Tensor]:
    """What the report shows: `before`, `after`, `control` (E, C, H, W); if any, `mask` (E, H, W) and verdicts (E,)."""
    tensors, _ = files.read_tensors(folder / "examples.safetensors")
    shown_images = {name: tensors[name] for name in SHOWN if name in tensors}
    return shown_images | ({"mask": tensors["mask"][:, 0]} if "mask" in tensors else {})


def check_application(run: Run) -> None:
    """Raise ConfigurationError for what can be known to be wrong before any long work."""
    settings = run.plain("application")["application"]
    name = settings.get("name")
    if name not in APPLICATIONS:
        raise ConfigurationError(f"application.name = '{name}' does not exist.{did_you_mean(str(name), APPLICATIONS)}")
    if name in ("rectify", "guide") and not is_image(run):
        raise ConfigurationError(
            f"application={name} needs images, not {training_set(run).name}: choose filter, best_of_n or augment."
        )
    if name in SETTINGS:
        settings_of(run)
    if name == "rectify":
        if not 0 < settings["failed"] <= 1:
            raise ConfigurationError(f"application.failed = {settings['failed']}; it must lie in (0, 1].")
        check_witnesses(run, settings)
    if name in ("augment", "guide") and not 1 <= settings["samples"] <= run.config.sampler.samples:
        raise ConfigurationError(
            f"application.samples = {settings['samples']}; the run has sampler.samples = {run.config.sampler.samples}."
        )
    model = architecture_of(run)
    if name == "best_of_n":
        count = run.config.sampler.samples
        candidate_groups(count, settings["n"], build_sampler(run).classes_of(model, range(count)))
    if "propagator" in settings:
        propagator = default_propagator(settings["propagator"], run.config.posterior.draws)
        require_variance(run, propagator.name, "application.propagator")
        cut_time(model, build_sampler(run), settings["cut"])


def as_markdown(command: str, entry: Mapping[str, Any]) -> str:
    """Command, sentence, table, notes."""
    lines = [f"`{command}`", "", entry["sentence"], "", "| measure | value | control | difference | n |"]
    lines.append("|---|---|---|---|---|")
    for row in entry["outcome"]:
        cells = [
            f"{row[f'{part}value']:.4g} [{row[f'{part}low']:.4g}, {row[f'{part}high']:.4g}]"
            for part in ("", "control_")
        ]
        cells.append(f"{row['difference']:+.4g} [{row['difference_low']:+.4g}, {row['difference_high']:+.4g}]")
        lines.append(f"| {row['measure'].replace('_', ' ')} | {' | '.join(cells)} | {row['n']} |")
    lines += ["", f"95 % intervals in brackets. Judge: {entry['judge']}.", *entry["notes"]]
    return "\n".join(lines) + "\n"
