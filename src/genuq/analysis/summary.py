"""The answer in one sentence: does the score find the bad samples, by how much, and does a control do as well?"""

from __future__ import annotations

from collections.abc import Sequence

from genuq.analysis.evaluation_entries import Summary, SummaryRow
from genuq.analysis.intervals import Interval
from genuq.analysis.score_entries import NOTHING, Correlation, IntervalRow, ScoreEntry
from genuq.errors import ConfigurationError, did_you_mean

TARGETS = ("realism", "confidence", "membership")  # the first that was measured is the table's Spearman column
CHANCE, NO_GAIN = 0.5, 0.0


def summarise(evaluations: Sequence[ScoreEntry], primary: str) -> Summary:
    """The results' `summary`.

    Args:
        evaluations: entries of `evaluate_scores`.
        primary: name of the score that the sentence is about.
    Raises:
        ConfigurationError: that score was not evaluated.
    """
    rows = {row.name: row for row in evaluations}
    if primary not in rows:
        raise ConfigurationError(f"The summary's score '{primary}' was not evaluated.{did_you_mean(primary, rows)}")
    row = rows[primary]
    controls = [other for other in evaluations if other.kind == "control" and other.name != primary]
    by_truth = row.auroc is not None
    found = _verdict(_auroc(row), CHANCE) if by_truth else _verdict(_fid_gain(row), NO_GAIN)
    parts = [
        _detection_clause(row) if by_truth else "",
        _filtering_clause(row),
        _control_clause(row, controls, by_truth),
        _addition_clause(row),
    ]
    clauses = "; ".join(part for part in parts if part)
    return Summary(
        sentence=f"{_opening(row, found)}{clauses}.",
        finds_bad=found,
        beats_controls=_beats(row, controls, by_truth),
        spearman_target=_spearman_target(row),
        table=[_line(one) for one in evaluations],
    )


def _verdict(interval: Interval | None, no_effect: float) -> bool | None:
    if interval is None or not interval.excludes(no_effect):
        return None
    return interval.value > no_effect


def _opening(row: ScoreEntry, found: bool | None) -> str:
    answers = {
        True: "finds bad samples",
        False: "points the wrong way: it trusts bad samples more than good ones",
        None: "could not be shown to find bad samples",
    }
    return f"{row.label} {answers[found]}: "


def _detection_clause(row: ScoreEntry) -> str:
    interval = _auroc(row)
    assert interval is not None
    return (
        f"shown a bad and a good one, it gives the bad one the higher score {interval.value:.0%} of the time "
        f"(AUROC {_span(interval)}; chance is 50%)"
    )


def _filtering_clause(row: ScoreEntry) -> str:
    gain = _fid_gain(row)
    if gain is None:
        return ""
    if not gain.excludes(NO_GAIN):
        return (
            f"keeping the samples it trusts most does not measurably change FID against random subsets ({_span(gain)})"
        )
    word = "lowers" if gain.value > 0 else "raises"
    size = Interval(abs(gain.value), min(abs(gain.low), abs(gain.high)), max(abs(gain.low), abs(gain.high)))
    return f"keeping the samples it trusts most {word} FID by {_span(size)} against random subsets of equal size"


def _best_control(
    row: ScoreEntry, controls: Sequence[ScoreEntry], by_truth: bool
) -> tuple[Interval, float, str] | None:
    """(the score's interval, the best control's value, its label) on the evidence of the verdict."""
    measure = _auroc if by_truth else _fid_gain
    own = measure(row)
    rivals = [(interval.value, other.label) for other in controls if (interval := measure(other)) is not None]
    return None if own is None or not rivals else (own, *max(rivals))


def _beats(row: ScoreEntry, controls: Sequence[ScoreEntry], by_truth: bool) -> bool | None:
    """Whether the best control lies below the score's interval; None where there is no control."""
    found = _best_control(row, controls, by_truth)
    return None if found is None else found[1] < found[0].low


def _control_clause(row: ScoreEntry, controls: Sequence[ScoreEntry], by_truth: bool) -> str:
    """Compares with the best control; within the score's interval is `as well`."""
    found = _best_control(row, controls, by_truth)
    if found is None:
        return ""
    own, value, label = found
    name = f"{'AUROC' if by_truth else 'FID gain'} {value:z.2f}"
    if value > own.high:
        return f"but the control '{label}' does better ({name})"
    if value >= own.low:
        return f"but the control '{label}' does as well ({name})"
    return f"no control does as well (the best is '{label}', {name})"


def _addition_clause(row: ScoreEntry) -> str:
    """What the score adds to all that is known without it."""
    if row.adds is None or (gain := row.adds.interval) is None or row.adds.p is None:
        return ""
    known = "the class and the controls tell together" if row.adds.by_class else "the controls tell together"
    known = known if row.adds.controls else "the class tells"
    added = f"AUROC {gain.value:z.3f}, 95% interval {gain.low:z.3f} to {gain.high:z.3f}"
    if gain.low > NO_GAIN:
        return f"to what {known} it adds {added} (p {p_value(row.adds.p)})"
    return f"to what {known} it adds nothing measurable ({added}; p {p_value(row.adds.p)})"


def p_value(p: float) -> str:
    """`= 0.012`, or `< 0.001`."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _line(row: ScoreEntry) -> SummaryRow:
    """One row of the summary's table."""
    found = (_spearman(row), row.auroc, row.gains.get("fid"), row.within_classes, row.adds)
    measures = [measured or NOTHING for measured in found]
    ends = (end for measured in measures for end in (measured.value, measured.low, measured.high))
    return SummaryRow(row.name, row.label, row.kind, *ends)


def _spearman(row: ScoreEntry) -> IntervalRow | None:
    target = _spearman_target(row)
    found = next((entry for entry in _spearmans(row) if entry.target == target), None)
    return None if found is None else IntervalRow(found.value, found.low, found.high)


def _spearman_target(row: ScoreEntry) -> str | None:
    found = [entry.target for entry in _spearmans(row)]
    return next((target for target in (*TARGETS, *found) if target in found), None)


def _spearmans(row: ScoreEntry) -> list[Correlation]:
    return [entry for entry in row.correlations if entry.statistic == "spearman"]


def _auroc(row: ScoreEntry) -> Interval | None:
    return None if row.auroc is None else row.auroc.interval


def _fid_gain(row: ScoreEntry) -> Interval | None:
    gain = row.gains.get("fid")
    return None if gain is None else gain.interval


def _span(interval: Interval) -> str:
    return f"{interval.value:z.2f}, 95% interval {interval.low:z.2f} to {interval.high:z.2f}"
