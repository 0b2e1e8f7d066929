"""The answer in one sentence: does the score find the bad samples, by how much, and does a control do as well?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from genuq.analysis.intervals import Interval
from genuq.errors import ConfigurationError, did_you_mean

TARGETS = ("realism", "confidence", "membership")  # the first that was measured is the table's Spearman column
CHANCE, NO_GAIN = 0.5, 0.0
Row = Mapping[str, Any]


def summarise(evaluations: Sequence[Row], primary: str) -> dict[str, Any]:
    """The results' `summary`.

    Args:
        evaluations: rows of `evaluate_scores`.
        primary: name of the score that the sentence is about.
    Returns:
        `sentence`, for someone who knows none of the terms; `finds_bad`: true or false when the interval of the AUROC
        (where no truth is known, of the FID gain) lies on one side of no effect, None when it holds no effect;
        `beats_controls`, whether every control does worse, which does not change `finds_bad`; `spearman_target`, what
        the table's Spearman column correlates with; `table`, a row for each score.
    """
    rows = {row["name"]: row for row in evaluations}
    if primary not in rows:
        raise ConfigurationError(f"The summary's score '{primary}' was not evaluated.{did_you_mean(primary, rows)}")
    row = rows[primary]
    controls = [other for other in evaluations if other["kind"] == "control" and other["name"] != primary]
    by_truth = row["auroc"] is not None
    found = _verdict(_auroc(row), CHANCE) if by_truth else _verdict(_fid_gain(row), NO_GAIN)
    parts = [
        _detection_clause(row) if by_truth else "",
        _filtering_clause(row),
        _control_clause(row, controls, by_truth),
    ]
    clauses = "; ".join(part for part in parts if part)
    return {
        "sentence": f"{_opening(row, found)}{clauses}.",
        "finds_bad": found,
        "beats_controls": _beats(row, controls, by_truth),
        "spearman_target": _spearman_target(row),
        "table": [_line(r) for r in evaluations],
    }


def _verdict(interval: Interval | None, no_effect: float) -> bool | None:
    if interval is None or not interval.excludes(no_effect):
        return None
    return interval.value > no_effect


def _opening(row: Row, found: bool | None) -> str:
    answers = {
        True: "finds bad samples",
        False: "points the wrong way: it trusts bad samples more than good ones",
        None: "could not be shown to find bad samples",
    }
    return f"{row['label']} {answers[found]}: "


def _detection_clause(row: Row) -> str:
    interval = _auroc(row)
    assert interval is not None
    return (
        f"shown a bad and a good one, it gives the bad one the higher score {interval.value:.0%} of the time "
        f"(AUROC {_span(interval)}; chance is 50%)"
    )


def _filtering_clause(row: Row) -> str:
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


def _best_control(row: Row, controls: Sequence[Row], by_truth: bool) -> tuple[Interval, float, str] | None:
    """(the score's interval, the best control's value, its label) on the evidence of the verdict."""
    measure = _auroc if by_truth else _fid_gain
    own = measure(row)
    rivals = [(interval.value, other["label"]) for other in controls if (interval := measure(other)) is not None]
    return None if own is None or not rivals else (own, *max(rivals))


def _beats(row: Row, controls: Sequence[Row], by_truth: bool) -> bool | None:
    """Whether the best control lies below the score's interval; None where there is no control."""
    found = _best_control(row, controls, by_truth)
    return None if found is None else found[1] < found[0].low


def _control_clause(row: Row, controls: Sequence[Row], by_truth: bool) -> str:
    """Compares with the best control; within the score's interval is `as well`."""
    found = _best_control(row, controls, by_truth)
    if found is None:
        return ""
    own, value, label = found
    name = f"{'AUROC' if by_truth else 'FID gain'} {value:.2f}"
    if value > own.high:
        return f"but the control '{label}' does better ({name})"
    if value >= own.low:
        return f"but the control '{label}' does as well ({name})"
    return f"no control does as well (the best is '{label}', {name})"


def _line(row: Row) -> dict[str, Any]:
    """One row of the summary's table."""
    parts = {"spearman": _spearman(row), "auroc": _auroc(row), "fid_gain": _fid_gain(row)}
    line: dict[str, Any] = {"score": row["name"], "label": row["label"], "kind": row["kind"]}
    for name, interval in parts.items():
        line[name] = interval and interval.value
        line[f"{name}_low"] = interval and interval.low
        line[f"{name}_high"] = interval and interval.high
    return line


def _spearman(row: Row) -> Interval | None:
    target = _spearman_target(row)
    return next((_interval(entry) for entry in _spearmans(row) if entry["target"] == target), None)


def _spearman_target(row: Row) -> str | None:
    found = [entry["target"] for entry in _spearmans(row)]
    return next((target for target in (*TARGETS, *found) if target in found), None)


def _spearmans(row: Row) -> list[Row]:
    return [entry for entry in row["correlations"] if entry["statistic"] == "spearman"]


def _auroc(row: Row) -> Interval | None:
    return _interval(row["auroc"])


def _fid_gain(row: Row) -> Interval | None:
    return _interval(row["gains"].get("fid"))


def _interval(entry: Row | None) -> Interval | None:
    return Interval(entry["value"], entry["low"], entry["high"]) if entry else None


def _span(interval: Interval) -> str:
    return f"{interval.value:.2f}, 95% interval {interval.low:.2f} to {interval.high:.2f}"
