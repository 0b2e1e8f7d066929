"""The stage that uses the uncertainty: one of the applications on the run's samples, beside its control."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from genuq import entries, files
from genuq.analysis.results import Application, ExamplesEntry
from genuq.applications import APPLICATIONS, moved_cut
from genuq.applications.rectify_run import RectifySettings
from genuq.display import Display
from genuq.errors import ConfigurationError
from genuq.models import GenerativeModel, Sampler
from genuq.pipeline.columns import functional_of
from genuq.pipeline.configured import (
    architecture_of,
    asks_beyond_data,
    build_sampler,
    data_inputs,
    is_image,
    model_inputs,
    sampler_inputs,
    training_set,
)
from genuq.pipeline.configured_judging import judge_inputs, prompt_inputs, truth_inputs
from genuq.pipeline.inputs import foreign_code, part_inputs
from genuq.pipeline.run import Run
from genuq.pipeline.stage import Stage, upstream
from genuq.pipeline.stages.applications import ApplyInputs, StoredRun, application_settings
from genuq.pipeline.stages.propagate import default_propagator, require_variance
from genuq.pipeline.stages.score import draws_inputs
from genuq.pipeline.stages.witnesses import check_witnesses, spaces_of
from genuq.propagators.register import PROPAGATORS, PropagatorPart
from genuq.report.run.application import INDICES, VERDICTS, application_markdown
from genuq.store.artefact import StageFolder

APPLICATION, EXAMPLES_FILE = "application.json", "examples.safetensors"
SHOWN = ("before", "after", "control", *VERDICTS.values(), *INDICES)  # in the report


class MovedCutWarning(UserWarning):
    """The cut asked for is no time of the sampler's grid, and the nearest one is taken."""


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
        part = APPLICATIONS.get(inputs.application.name)
        known = StoredRun(inputs, folder.path / "parts", display)
        cut = taken_cut(known.model, known.sampler, inputs.settings)
        notes = [] if cut is None else [_moved(inputs.settings.cut, cut)]
        for note in notes:
            display.say(note)
        outcome, examples = part.run(known, inputs.settings)
        files.write_tensors(folder.path / EXAMPLES_FILE, examples)
        entry = outcome.as_entry()
        entry = replace(
            entry,
            settings={**inputs.shown_settings, **({"cut_taken": cut} if cut else {}), **entry.settings},
            notes=[*notes, *entry.notes],
            judge=inputs.judge.open().name,
            examples=ExamplesEntry(f"{self.name}/{EXAMPLES_FILE}", len(examples["index"])),
        )
        files.write_json(folder.path / APPLICATION, files.plain(entry))
        files.write_text(folder.path / "application.md", application_markdown(inputs.command, entry))
        shutil.rmtree(folder.path / "parts", ignore_errors=True)
        display.say(outcome.sentence)
        return {"sentence": outcome.sentence, **inputs.sampler.engine.notes}


def apply_inputs(run: Run) -> ApplyInputs:
    """What the run's application depends on; of its settings those that it reads."""
    part, metric, settings = APPLICATIONS.get(run.config.application.name), run.config.metric, application_settings(run)
    if isinstance(settings, RectifySettings):
        settings = settings.as_read
    return ApplyInputs(
        seed=run.config.seed,
        model=model_inputs(run),
        data=data_inputs(run, "train"),
        **{name: upstream(run, name) for name in ("fit", "sample", "embed", "score")},
        sampler=sampler_inputs(run),
        judge=judge_inputs(run),
        application=part_inputs(part, {one.name: getattr(settings, one.name) for one in fields(settings)}),
        spaces=spaces_of(run, asked_spaces(settings)),
        main=run.config.score.name,
        drawn=draws_inputs(run),
        functional=functional_of(run),
        draws=run.config.posterior.draws,
        neighbours=metric.k,
        bootstrap=metric.bootstrap,
        curves={key: metric[key] for key in part.resamples},
        shown_settings=run.plain("application")["application"],
        command=run.command,
        code=foreign_code(propagators_of(settings)),
        truth=truth_inputs(run),
        prompts=prompt_inputs(run),
        beyond_data=asks_beyond_data(run),
    )


def taken_cut(model: GenerativeModel, sampler: Sampler, settings: Any) -> float | None:
    """The time of the grid that is taken in place of the cut asked for, where that is none.

    Raises:
        ConfigurationError: a cut where nothing can be done.
    """
    return moved_cut(model, sampler, settings.cut) if hasattr(settings, "cut") else None


def _moved(asked: float, taken: float) -> str:
    return f"The cut t = {asked:g} is no time of the sampler's grid: the nearest one, {taken:.4g}, is taken."


def propagators_of(settings: Any) -> list[PropagatorPart]:
    """The propagator that an application's settings name, if they do."""
    return [PROPAGATORS.get(settings.propagator)] if hasattr(settings, "propagator") else []


def asked_spaces(settings: Any) -> tuple[str, ...]:
    """Names of the spaces that an application's settings name as `witnesses`."""
    asks = getattr(settings, "asks_witnesses", True)
    return tuple(getattr(settings, "witnesses", ())) if asks else ()


def applied(run: Run) -> bool:
    """Whether this run uses the uncertainty in some application."""
    return run.config.application is not None and Apply.name in run.config.stages


def read_application(folder: Path) -> Application:
    """What the stage has left in its folder."""
    return entries.read(folder / APPLICATION, Application)


def read_examples(folder: Path) -> dict[str, Tensor]:
    """What the report shows: `before`, `after`, `control` (E, C, H, W), `mask` (E, H, W), verdicts and indices (E,)."""
    tensors, _ = files.read_tensors(folder / EXAMPLES_FILE)
    shown_images = {name: tensors[name] for name in SHOWN if name in tensors}
    return shown_images | ({"mask": tensors["mask"][:, 0]} if "mask" in tensors else {})


def check_application(run: Run) -> None:
    """Raise ConfigurationError for what can be known to be wrong before any long work."""
    configured = run.plain("application")["application"]
    part = APPLICATIONS.get(str(configured.get("name")))
    if part.needs_images and not is_image(run):
        anywhere = ", ".join(APPLICATIONS.names(needs_images=False))
        raise ConfigurationError(
            f"application={part.name} needs images, not {training_set(run).name}: choose one of {anywhere}."
        )
    part.resolve()
    settings = application_settings(run)
    if "witnesses" in configured:
        check_witnesses(run, configured)
    samples = configured.get("samples")
    if samples is not None and not 1 <= samples <= run.config.sampler.samples:
        raise ConfigurationError(
            f"application.samples = {samples}, but the run has sampler.samples = {run.config.sampler.samples}: set "
            "application.samples to no more."
        )
    if part.check is not None:
        part.check(settings, Planned(architecture_of(run), build_sampler(run), run.config.sampler.samples))
    if "propagator" in configured:
        propagator = default_propagator(configured["propagator"], run.config.posterior.draws)
        require_variance(run, propagator.name, "application.propagator")
    if (taken := taken_cut(architecture_of(run), build_sampler(run), settings)) is not None:
        warnings.warn(_moved(settings.cut, taken), MovedCutWarning, stacklevel=2)


@dataclass(frozen=True)
class Planned:
    """What an application may know before the run."""

    model: GenerativeModel
    sampler: Sampler
    count: int
