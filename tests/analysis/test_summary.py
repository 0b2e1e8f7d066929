"""The answer in one sentence, from evaluated scores that are written by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from genuq.analysis import summarise
from genuq.analysis.score_entries import Addition, Correlation, Detection, IntervalRow, ScoreEntry
from genuq.errors import ConfigurationError

Three = tuple[float, float, float]


def entry(
    name: str, label: str, kind: str = "score", auroc: Three | None = None, fid: Three | None = None
) -> ScoreEntry:
    detection = None if auroc is None else Detection(*auroc, positives=10, n=40)
    gains = {} if fid is None else {"fid": IntervalRow(*fid)}
    correlations = [Correlation("membership", "spearman", -0.5, -0.6, -0.4, 40)]
    return ScoreEntry(name, label, kind, 0.0, {}, gains, None, {}, correlations, detection, None, [])


def rows(own: Three, control: Three = (0.5, 0.45, 0.55)) -> list[ScoreEntry]:
    return [
        entry("entropy", "Generative uncertainty", auroc=own, fid=(1.5, 1.0, 2.0)),
        entry("complexity", "Complexity", "control", control),
    ]


def test_a_score_that_works_and_beats_its_control() -> None:
    found = summarise(rows((0.8, 0.75, 0.85)), "entropy")
    assert (found.finds_bad, found.beats_controls, found.spearman_target) == (True, True, "membership")
    assert found.sentence == (
        "Generative uncertainty finds bad samples: shown a bad and a good one, it gives the bad one the higher score "
        "80% of the time (AUROC 0.80, 95% interval 0.75 to 0.85; chance is 50%); keeping the samples it trusts most "
        "lowers FID by 1.50, 95% interval 1.00 to 2.00 against random subsets of equal size; no control does as well "
        "(the best is 'Complexity', AUROC 0.50)."
    )
    line = found.table[0]
    assert (line.score, line.kind, line.spearman, line.auroc_low, line.fid_gain_high) == (
        *("entropy", "score", -0.5, 0.75, 2.0),
    )
    assert found.table[1].fid_gain is None


@pytest.mark.parametrize(
    ("auroc", "verdict", "words"),
    [
        ((0.55, 0.48, 0.62), None, "could not be shown to find bad samples"),
        ((0.35, 0.30, 0.40), False, "points the wrong way"),
        ((0.60, 0.51, 0.69), True, "finds bad samples"),
    ],
)
def test_the_verdict_follows_the_interval(auroc: Three, verdict: bool | None, words: str) -> None:
    found = summarise(rows(auroc), "entropy")
    assert found.finds_bad is verdict and words in found.sentence


@pytest.mark.parametrize(
    ("value", "words", "beats"),
    [(0.95, "does better", False), (0.78, "does as well", False), (0.6, "no control", True)],
)
def test_a_control_that_does_as_well_is_named(value: float, words: str, beats: bool) -> None:
    found = summarise(rows((0.8, 0.75, 0.85), (value, value - 0.05, value + 0.05)), "entropy")
    assert words in found.sentence and "'Complexity'" in found.sentence and found.beats_controls is beats


@pytest.mark.parametrize(
    ("fid", "verdict", "words"),
    [
        ((1.5, 1.0, 2.0), True, "lowers FID by 1.50, 95% interval 1.00 to 2.00"),
        ((-1.5, -2.0, -1.0), False, "raises FID by 1.50, 95% interval 1.00 to 2.00"),
        ((0.5, -0.5, 1.5), None, "does not measurably change FID"),
        ((-0.001, -0.004, 0.001), None, "against random subsets (0.00, 95% interval 0.00 to 0.00)"),
    ],
)
def test_without_truth_the_fid_gain_decides(fid: Three, verdict: bool | None, words: str) -> None:
    found = summarise([entry("entropy", "Generative uncertainty", fid=fid)], "entropy")
    assert found.finds_bad is verdict and words in found.sentence
    assert found.beats_controls is None and found.table[0].auroc is None


@pytest.mark.parametrize(
    ("low", "p", "controls", "by_class", "words"),
    [
        (0.01, 0.0123, ["jitter"], True, "to what the class and the controls tell together it adds AUROC 0.030, 95%"),
        (
            0.01,
            1e-9,
            ["jitter"],
            False,
            "to what the controls tell together it adds AUROC 0.030, 95% interval 0.010",
        ),
        (-0.01, 0.2, [], True, "to what the class tells it adds nothing measurable (AUROC 0.030"),
    ],
)
def test_what_a_score_adds_to_the_controls_is_said(low, p, controls, by_class, words) -> None:
    adds = Addition(0.03, low, 0.05, 0.7, 0.73, 6.0, 1, p, controls, by_class)
    own, control = rows((0.8, 0.75, 0.85))
    found = summarise([replace(own, adds=adds, within_classes=IntervalRow(0.7, 0.6, 0.8)), control], "entropy")
    assert words in found.sentence and ("p < 0.001" if p < 0.001 else f"p = {p:.3f}") in found.sentence
    line = found.table[0]
    assert (line.adds, line.adds_low, line.within_classes_high) == (0.03, low, 0.8)
    assert found.table[1].adds is None


def test_an_unknown_score_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="Did you mean 'entropy'"):
        summarise(rows((0.8, 0.75, 0.85)), "entropi")
