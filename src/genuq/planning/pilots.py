"""What a pilot leaves of a run's score, before it has chosen: at most the budget."""

from __future__ import annotations

from typing import Any

from genuq.pipeline.columns import score_inputs
from genuq.pipeline.inputs import PartInputs
from genuq.pipeline.shared_scores import path_inputs, probe_inputs
from genuq.pipeline.stages.pilot import (
    at_setting,
    counted_settings,
    has_pilot,
    pilot_upstream,
    read_pilot,
    settings_of,
)
from genuq.planning.planned import PlannedRun


def full_scores(run: PlannedRun) -> dict[str, PartInputs]:
    """The run's own score, all of whose work the pilot does."""
    score = score_inputs(run, run.config.score.name)
    return {score.name: at_setting(score, settings_of(run)[-1])}


def planned_scores(run: PlannedRun, source: str) -> dict[str, PartInputs]:
    """The scores of the `path` or the `probe`, the run's own as its pilot chose, or as dear as it may choose."""
    parts = path_inputs(run) if source == "path" else probe_inputs(run)
    if pilot_upstream(run, source) is None:
        return parts
    name = run.config.score.name
    return parts | {name: at_setting(parts[name], planned_setting(run)[0])}


def planned_setting(run: PlannedRun) -> tuple[dict[str, Any], float, bool]:
    """(setting that is planned with, its cost over sampling alone, whether the pilot has chosen it)."""
    pilot = pilot_upstream(run)
    assert pilot is not None
    if pilot.folder.is_current():
        chosen = read_pilot(pilot.path).chosen
        return dict(chosen.setting), chosen.cost, True
    budget = run.config.score.budget
    eligible = [one for one in counted_settings(run) if budget is None or one[1] <= budget + 1e-9]
    return *max(eligible, key=lambda one: one[1]), False


def budget_words(run: PlannedRun) -> str | None:
    """What sampling with the run's score will cost; None without a pilot."""
    if not has_pilot(run):
        return None
    setting, cost, chosen = planned_setting(run)
    words = ", ".join(f"{name} = {value}" for name, value in setting.items())
    if chosen:
        return f"{run.config.score.name} at {words}, which the pilot has chosen: {cost:.3g} of plain sampling"
    compared = f"a pilot of {run.config.score.pilot} samples chooses among {len(settings_of(run))} settings"
    return f"{run.config.score.name}: {compared}; at most {cost:.3g} of plain sampling ({words}), which is planned with"
