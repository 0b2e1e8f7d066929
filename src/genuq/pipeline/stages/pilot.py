"""The stage that tries a score before the run: which part of its work says what all of it says, within a budget?

A few samples of their own, keyed as all samples are, get the score at its full setting and at every cheaper one. What
is chosen holds for the whole run, so that all samples are scored alike, at any batch size and by any number of
processes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from genuq import entries, files
from genuq.analysis.evaluation_entries import PilotEntry, SettingEntry
from genuq.analysis.inputs import Array
from genuq.analysis.score_entries import IntervalRow
from genuq.analysis.stopping import (
    DECISION,
    Stopping,
    best_within,
    changed_decisions,
    held_out_agreement,
    least_tolerance,
    rank_agreements,
    rank_interval,
)
from genuq.display import Display
from genuq.errors import ConfigurationError, require_finite
from genuq.identity import where_given
from genuq.models import GenerativeModel, Sampler
from genuq.parts.bounds import LARGEST_SEED
from genuq.pipeline.columns import options_of, score_inputs
from genuq.pipeline.configured import model_inputs, sampler_inputs
from genuq.pipeline.counting import counts_alone, watched_counts
from genuq.pipeline.inputs import ModelInputs, PartInputs, SamplerInputs
from genuq.pipeline.posteriors import evaluated, load_posterior
from genuq.pipeline.run import Run
from genuq.pipeline.shared_scores import ResourceInputs, draws_of_main, functions_of, partial_settings, resources_of
from genuq.pipeline.stage import Stage, upstream
from genuq.randomness import key
from genuq.scores import SCORES, Resources, score_together
from genuq.scores.settings import smaller_settings
from genuq.scores.shared import fresh
from genuq.store.artefact import StageFolder
from genuq.store.upstream import Upstream

PILOT_FILE = "pilot.json"
STREAM = "pilot"  # of the samples' seed
SOURCES = ("path", "probe")  # of scores whose work has parts
KEPT = 0.75  # share of samples that decisions keep where the run does not filter; that of application=filter


@dataclass(frozen=True)
class PilotInputs:
    """What the choice of a setting depends on.

    Attributes:
        sampler: of the pilot's samples, with the run's seed.
        score: at its full setting.
        settings: that are compared, the full one last.
        resources: that the score asks for.
        budget, stop, tolerance: see `genuq.config.shared.Columns`.
        keep: share of samples that decisions keep.
    """

    model: ModelInputs
    fit: Upstream
    sampler: SamplerInputs
    score: PartInputs
    settings: tuple[Mapping[str, Any], ...]
    resources: ResourceInputs
    keep: float
    budget: float | None = where_given(None)
    stop: str | None = where_given(None)
    tolerance: float | None = where_given(None)

    @property
    def stopping(self) -> Stopping | None:
        """None where nothing is to be stable."""
        return None if self.stop is None or self.tolerance is None else Stopping(self.stop, self.tolerance, self.keep)


class Measured(NamedTuple):
    """What the settings said of the pilot's samples.

    Attributes:
        values: (C, N) score of every setting.
        evaluations, seconds: (C,) of one sample, beside its sampling.
        sampling_seconds: of one sample.
    """

    values: Array
    evaluations: Array
    seconds: Array
    sampling_seconds: float


class Pilot(Stage[PilotInputs]):
    """Leaves pilot.json (`analysis.evaluation_entries.PilotEntry`): the setting that was chosen, and all it was chosen
    among. Without `score.budget` and `score.stop` it does nothing and leaves nothing.
    """

    name = "pilot"
    version = 1

    def inputs(self, run: Run) -> PilotInputs:
        score = run.config.score
        return PilotInputs(
            model=model_inputs(run),
            fit=upstream(run, "fit"),
            sampler=replace(sampler_inputs(run), samples=score.pilot),
            score=score_inputs(run, score.name),
            settings=tuple(settings_of(run)),
            resources=resources_of(run, [SCORES.get(score.name)]),
            keep=share_kept(run),
            budget=score.budget,
            stop=score.stop,
            tolerance=score.tolerance if score.stop else None,
        )

    def applies(self, run: Run) -> bool:
        return has_pilot(run)

    def work(self, inputs: PilotInputs, folder: StageFolder, display: Display) -> Mapping[str, Any]:
        trained = inputs.model.open()
        load = partial(load_posterior, inputs.fit.path, trained)
        resources = inputs.resources.open(trained, load, inputs.sampler.seed)  # the weight draws are those of the run
        model = evaluated(inputs.sampler.engine, trained, resources.posteriors.values())
        sampler = replace(inputs.sampler.build(model), seed=key(inputs.sampler.seed, 0, STREAM) % (LARGEST_SEED + 1))
        with display.bar("pilot", inputs.sampler.samples) as advance:
            measured = measure(inputs, model, sampler, resources, advance)
        entry = choose(inputs, measured, sampler.evaluations(model))
        files.write_json(folder.path / PILOT_FILE, files.plain(entry))
        return {"chosen": dict(entry.chosen.setting), "cost": entry.chosen.cost, **inputs.sampler.engine.notes}


def measure(
    inputs: PilotInputs,
    model: GenerativeModel,
    sampler: Sampler,
    resources: Resources,
    advance: Callable[[int], None] = lambda done: None,
) -> Measured:
    """Draw the pilot's samples, and score them at every setting."""
    functions = functions_of({str(n): at_setting(inputs.score, one) for n, one in enumerate(inputs.settings)})
    source, count, parts, sampling = SCORES.get(inputs.score.name).source, inputs.sampler.samples, [], 0.0
    for start in range(0, count, sampler.batch_size):
        indices, started = range(start, min(start + sampler.batch_size, count)), time.perf_counter()
        predictions = fresh(model, sampler, indices, source, resources).predictions
        sampling += time.perf_counter() - started
        parts.append(score_together(predictions, functions))
        advance(len(indices))
    values_CN = np.stack([np.concatenate([part.values[name].numpy() for part in parts]) for name in functions])
    costs = [[part.costs[name] for part in parts] for name in functions]
    return Measured(
        values_CN,
        np.array([sum(cost.evaluations for cost in each) for each in costs]) / count,
        np.array([sum(cost.seconds for cost in each) for each in costs]) / count,
        sampling / count,
    )


def choose(inputs: PilotInputs, measured: Measured, sampling: float) -> PilotEntry:
    """The setting that the pilot speaks for.

    Args:
        sampling: network evaluations of one sample without the score.
    """
    values_CN, seed = measured.values, inputs.sampler.seed
    require_finite(torch.from_numpy(values_CN), f"score '{inputs.score.name}' of the pilot", "Check the weights.")
    costs_C, agreements_C = 1 + measured.evaluations / sampling, rank_agreements(values_CN)
    budget = np.inf if inputs.budget is None else inputs.budget
    best, stopping = best_within(agreements_C, costs_C, budget), inputs.stopping
    assert best is not None, "check_pilot has found one"
    stopped = None if stopping is None else stopping.stop(values_CN, costs_C, seed, budget)
    stable = None if stopped is None else stopped.chosen is not None
    chosen = best if stopped is None or stopped.chosen is None else stopped.chosen
    settings = setting_entries(inputs, measured, costs_C, agreements_C)
    return PilotEntry(
        score=inputs.score.name,
        samples=inputs.sampler.samples,
        budget=inputs.budget,
        stop=inputs.stop,
        tolerance=inputs.tolerance,
        keep=inputs.keep,
        sampling_seconds=measured.sampling_seconds,
        chosen=settings[chosen],
        held_out=None if stable else held_out_agreement(values_CN, costs_C, budget, seed),
        bound=(stopped.bounds.get(chosen, 0.0) if stable else None) if stopped is not None else None,
        stable=stable,
        settings=settings,
    )


def setting_entries(inputs: PilotInputs, measured: Measured, costs_C: Array, agreements_C: Array) -> list[SettingEntry]:
    """All settings as the record keeps them."""
    count = measured.values.shape[1]
    changed_C = changed_decisions(measured.values, inputs.keep) / count
    return [
        SettingEntry(
            setting=setting,
            cost=float(costs_C[number]),
            seconds=float(measured.seconds[number]),
            spearman=IntervalRow.of(rank_interval(float(agreements_C[number]), count)),
            changed=float(changed_C[number]),
        )
        for number, setting in enumerate(inputs.settings)
    ]


def at_setting(score: PartInputs, setting: Mapping[str, Any]) -> PartInputs:
    """A score that does this much of its work."""
    return replace(score, options={**score.options, **setting})


# What other stages ask


def has_pilot(run: Run) -> bool:
    """Whether a pilot chooses the setting of the run's score."""
    score = run.config.score
    return score.get("budget") is not None or score.get("stop") is not None


def pilot_upstream(run: Run, *sources: str) -> Upstream | None:
    """The artefact of the pilot; None where the run has none, or its score is of another source."""
    wanted = has_pilot(run) and SCORES.get(run.config.score.name).source in (sources or SOURCES)
    return upstream(run, Pilot.name) if wanted else None


def read_pilot(folder: Path) -> PilotEntry:
    """What the finished stage found."""
    return entries.read(folder / PILOT_FILE, PilotEntry)


def settled(parts: Mapping[str, PartInputs], pilot: Upstream | None) -> dict[str, PartInputs]:
    """Scores with their options, the run's own at the setting that the pilot chose."""
    if pilot is None:
        return dict(parts)
    found = read_pilot(pilot.path)
    return {
        name: at_setting(part, found.chosen.setting) if name == found.score else part for name, part in parts.items()
    }


def settings_of(run: Run) -> list[dict[str, Any]]:
    """The settings that the run's pilot compares, the full one last."""
    name = run.config.score.name
    return smaller_settings(SCORES.get(name), options_of(run, name), draws_of_main(run))


def share_kept(run: Run) -> float:
    """The share of samples that the run's filter keeps."""
    application = run.plain("application")["application"] or {}
    share = application.get("fraction") if application.get("name") == "filter" else None
    return KEPT if share is None else float(share)


def counted_settings(run: Run) -> list[tuple[dict[str, Any], float]]:
    """Each of them with what sampling with the score costs over sampling alone, in evaluations, before any is made."""
    settings, score = settings_of(run), score_inputs(run, run.config.score.name)
    parts = {str(number): at_setting(score, setting) for number, setting in enumerate(settings)}
    found = counts_alone(run, SCORES.get(score.name).source, parts)
    sampling = watched_counts(run)["sampling"].forward
    return [(setting, 1 + found[str(number)] / sampling) for number, setting in enumerate(settings)]


def check_pilot(run: Run) -> None:
    """Raise ConfigurationError for a budget that nothing fits, or for parts of a score that has none."""
    score = run.config.score
    given = [key for key in ("budget", "stop") if score.get(key) is not None]
    given += ["frontier"] if score.get("frontier") else []
    if not given:
        return
    part, said = SCORES.get(score.name), f"score.{given[0]} = {score[given[0]]}"
    if part.source not in SOURCES:
        raise ConfigurationError(
            f"{said}, but '{score.name}' is no score of the path or of finished samples noised again, whose work has "
            "parts. Leave it out, or choose score=path_disagreement or score=renoised_disagreement, for instance."
        )
    if "frontier" in given:
        check_frontier(run, given)
        return
    check_budget(run, score.budget)
    least = least_tolerance(score.pilot)
    if score.stop == DECISION and score.tolerance < least:
        raise ConfigurationError(
            f"score.tolerance = {score.tolerance}, but score.pilot = {score.pilot} samples can show no share of "
            f"changed decisions below {least:.4f}. Raise score.pilot, or score.tolerance."
        )


def check_frontier(run: Run, given: Sequence[str]) -> None:
    """Raise ConfigurationError where all parts are asked for and left out at once, or there are too many."""
    if len(given) > 1:
        raise ConfigurationError(
            f"score.frontier = true computes all parts of the score, which score.{given[0]} is to leave out. Leave one "
            "of them out; the report of a pilot has the frontier of its samples."
        )
    partial_settings(run)


def check_budget(run: Run, budget: float | None) -> None:
    """Raise ConfigurationError for a budget below the cheapest setting, or too many settings to compare."""
    setting, cost = min(counted_settings(run), key=lambda one: one[1])
    if budget is not None and cost > budget + 1e-9:
        words = ", ".join(f"{name} = {value}" for name, value in setting.items())
        raise ConfigurationError(
            f"score.budget = {budget}, but the least that '{run.config.score.name}' can cost is {cost:.4f} of plain "
            f"sampling ({words}). Raise score.budget to at least {np.ceil(1e4 * cost) / 1e4:g}, or take more "
            "sampler.steps."
        )
