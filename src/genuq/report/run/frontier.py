"""What the run's score finds for what it costs: a figure of its settings, and the choice of a pilot in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from genuq.analysis.evaluation_entries import PilotEntry, SettingEntry
from genuq.analysis.frontier import efficient
from genuq.analysis.results import Results
from genuq.analysis.stopping import RANKING
from genuq.report.drawing.style import colour, styled
from genuq.report.drawing.values import decimals, interval, present

MEASURES = {"auroc": "Cross-fitted AUROC", "spearman": "Spearman with the full score"}
COST = "Network evaluations, plain sampling = 1"


def settings_in(results: Results) -> Sequence[SettingEntry]:
    """Those of the run's own samples, else of its pilot; none where the run has neither."""
    return results.frontier or ([] if results.pilot is None else results.pilot.settings)


def measures_in(results: Results) -> list[str]:
    """What the settings are measured by."""
    settings = settings_in(results)
    return [name for name in MEASURES if any(_value(entry, name) is not None for entry in settings)]


@styled
def frontier(axes: Axes, results: Results, measure: str) -> None:
    """A dot for each setting at its cost, a line along those that none matches for less, a ring around the chosen."""
    settings, main = settings_in(results), colour("series-1")
    best = efficient(settings, measure)
    dots = [(entry.cost, value) for entry in settings if (value := _value(entry, measure)) is not None]
    axes.plot(*zip(*dots), "o", ms=3.5, mew=0, color=colour("plot-band"), zorder=2)
    line = [(entry.cost, _value(entry, measure)) for entry in best]
    axes.step(*zip(*line), where="post", color=main, linewidth=1.2, zorder=3)
    for entry in best:
        _whisker(axes, entry, measure, main)
    chosen = None if results.pilot is None or results.frontier else results.pilot.chosen
    if chosen is not None and (value := _value(chosen, measure)) is not None:
        axes.plot([chosen.cost], [value], "o", ms=10, mfc="none", mec=colour("plot-ink"), mew=1.4, zorder=5)
    axes.margins(x=0.06, y=0.08)
    axes.set_title(MEASURES[measure])
    axes.set_xlabel(COST)
    axes.yaxis.set_major_locator(MaxNLocator(5))


def _whisker(axes: Axes, entry: SettingEntry, measure: str, shade: str) -> None:
    row = getattr(entry, measure)
    if present(row.low) and present(row.high):
        axes.plot([entry.cost] * 2, [row.low, row.high], color=shade, linewidth=0.8, alpha=0.6, zorder=3)
    axes.plot([entry.cost], [row.value], "o", ms=5, mew=0, color=shade, zorder=4)


def describe(results: Results, measure: str) -> str:
    """The figure in words."""
    best = efficient(settings_in(results), measure)
    ends = [best[0], best[-1]] if len(best) > 1 else best
    told = [f"{setting_words(one.setting)}: {decimals(_value(one, measure), 3)} at {one.cost:.3g}" for one in ends]
    return f"{MEASURES[measure]} of each setting against its cost. On the frontier {'; and '.join(told)}."


def setting_words(setting: Mapping[str, Any]) -> str:
    """`points 0.25, 1; members 3`."""
    listed = {name: value if isinstance(value, Sequence) else [value] for name, value in setting.items()}
    return "; ".join(f"{name} {', '.join(f'{one:g}' for one in value)}" for name, value in listed.items())


def pilot_words(pilot: PilotEntry) -> str:
    """What the pilot chose, why, and how far that can be trusted."""
    row, within = pilot.chosen.spearman, "" if pilot.budget is None else f" under a budget of {pilot.budget:g}"
    told = (
        f"A pilot of {pilot.samples} samples chose {setting_words(pilot.chosen.setting)} among {len(pilot.settings)} "
        f"settings{within}: sampling costs {pilot.chosen.cost:.3g} times as many network evaluations with the score as "
        f"without, and its ranks agree with those of the full score by {decimals(row.value, 3)} "
        f"{interval(row.low, row.high, 3)}"
    )
    if pilot.held_out is not None:
        told += f", {decimals(pilot.held_out, 3)} where one half of the pilot chooses and the other measures"
    return f"{told}.{_stable_words(pilot)}"


def _stable_words(pilot: PilotEntry) -> str:
    if pilot.stop is None:
        return ""
    decisions = f"the share of decisions to keep {pilot.keep:.0%} of the samples that differ"
    what = "1 less that agreement" if pilot.stop == RANKING else decisions
    if not pilot.stable:
        return f" Nothing under the budget was shown to be stable: {what} may be more than {pilot.tolerance:g}."
    bound = f"is at most {decimals(pilot.bound, 3)} (95 % bound), within {pilot.tolerance:g}"
    return f" On samples that did not choose, {what} {bound}."


def rows_in(results: Results) -> list[SettingEntry]:
    """The settings of the table: those on a frontier by any measure, and the full one, the cheapest first."""
    settings = settings_in(results)
    if not settings:
        return []
    best = [entry for measure in measures_in(results) for entry in efficient(settings, measure)]
    chosen = [] if results.pilot is None or results.frontier else [results.pilot.chosen]
    found: list[SettingEntry] = []
    for entry in sorted([*best, *chosen, settings[-1]], key=lambda one: one.cost):
        found += [] if any(entry.setting == other.setting for other in found) else [entry]
    return found


def _value(entry: SettingEntry, measure: str) -> float | None:
    row = getattr(entry, measure)
    return None if row is None or not present(row.value) else row.value
