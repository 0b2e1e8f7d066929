"""The stage that uses the uncertainty: one of the applications on the run's samples, beside its control."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from genuq import entries, files
from genuq.analysis.results import Application, ExamplesEntry
from genuq.applications import APPLICATIONS, cut_time
from genuq.display import Display
from genuq.errors import ConfigurationError
from genuq.models import GenerativeModel, Sampler
from genuq.parts import identity
from genuq.pipeline.run import Run
from genuq.pipeline.stage import Stage
from genuq.pipeline.stages.applications import Known, settings_of
from genuq.pipeline.stages.propagate import default_propagator, require_variance
from genuq.pipeline.stages.witnesses import check_witnesses
from genuq.report.run.application import application_markdown
from genuq.store.artefact import StageFolder

APPLICATION, EXAMPLES_FILE = "application.json", "examples.safetensors"
SHOWN = ("before", "after", "control", "accepted", "control_accepted")  # in the report


class Apply(Stage):
    """Leaves application.json (the part `application` of the results), application.md, and examples.safetensors.

    The examples, in the order of their scores where the application chose by them, else of their indices: `index`
    (E,), `before`, `after`, `control` (uint8 images, or points), `mask` (E, 1, H, W) where only a region was changed,
    and of each of the three the judge's first measure, `before_judged` (E,) and so on. Of a rectification the accepted
    ones come first, and `accepted` and `control_accepted` (E,) tell them.

    Without an application it does nothing and leaves nothing.
    """

    name = "apply"
    version = 2
    inputs = ("score",)
    groups = ("application",)

    def settings(self, run: Run) -> dict[str, Any]:
        metric = run.plain("metric")["metric"]
        kept = {key: metric[key] for key in ("k", "bootstrap", "half_samples", "random_repeats")}
        part = None if run.config.application is None else APPLICATIONS.get(run.config.application.name)
        foreign = {} if part is None or part.builtin else {"parts": {part.name: identity(part)}}
        return super().settings(run) | {"metric": kept} | foreign

    def applies(self, run: Run) -> bool:
        return run.config.application is not None

    def work(self, run: Run, folder: StageFolder, display: Display) -> Mapping[str, Any]:
        part = APPLICATIONS.get(run.config.application.name)
        outcome, examples = part.run(Known(run, folder.path / "parts", display), settings_of(run))
        files.write_tensors(folder.path / EXAMPLES_FILE, examples)
        found = outcome.as_entry()
        entry = replace(
            found,
            settings=run.plain("application")["application"] | dict(found.settings),
            judge=run.judge.name,
            examples=ExamplesEntry(f"{self.name}/{EXAMPLES_FILE}", len(examples["index"])),
        )
        files.write_json(folder.path / APPLICATION, files.plain(entry))
        files.write_text(folder.path / "application.md", application_markdown(run.command, entry))
        shutil.rmtree(folder.path / "parts", ignore_errors=True)
        display.say(outcome.sentence)
        return {"sentence": outcome.sentence}


def applied(run: Run) -> bool:
    """Whether this run uses the uncertainty in some application."""
    return run.config.application is not None and Apply.name in run.config.stages


def application_of(run: Run) -> Application | None:
    """What the stage has left, for the report; None without an application."""
    if run.config.application is None:
        return None
    return read_application(run.path(Apply.name))


def read_application(folder: Path) -> Application:
    """What the stage has left in its folder."""
    return entries.read(folder / APPLICATION, Application)


def examples_of(run: Run) -> dict[str, Tensor] | None:
    """What the report shows: `before`, `after`, `control` (E, C, H, W); if any, `mask` (E, H, W) and verdicts (E,)."""
    if run.config.application is None or not run.is_image:
        return None
    tensors, _ = files.read_tensors(run.path(Apply.name) / EXAMPLES_FILE)
    shown_images = {name: tensors[name] for name in SHOWN if name in tensors}
    return shown_images | ({"mask": tensors["mask"][:, 0]} if "mask" in tensors else {})


def check_application(run: Run) -> None:
    """Raise ConfigurationError for what can be known to be wrong before any long work."""
    given = run.plain("application")["application"]
    part = APPLICATIONS.get(str(given.get("name")))
    if part.needs_images and not run.is_image:
        anywhere = ", ".join(APPLICATIONS.names(needs_images=False))
        raise ConfigurationError(
            f"application={part.name} needs images, not {run.training_set.name}: choose one of {anywhere}."
        )
    part.resolve()
    settings = settings_of(run)
    if "witnesses" in given:
        check_witnesses(run, given)
    samples = given.get("samples")
    if samples is not None and not 1 <= samples <= run.config.sampler.samples:
        raise ConfigurationError(
            f"application.samples = {samples}; the run has sampler.samples = {run.config.sampler.samples}."
        )
    if part.check is not None:
        part.check(settings, Planned(run.architecture, run.sampler, run.config.sampler.samples))
    if "propagator" in given:
        require_variance(run, default_propagator(run, given["propagator"]).name, "application.propagator")
    if "cut" in given:
        cut_time(run.architecture, run.sampler, given["cut"])


@dataclass(frozen=True)
class Planned:
    """What an application may know before the run."""

    model: GenerativeModel
    sampler: Sampler
    count: int
