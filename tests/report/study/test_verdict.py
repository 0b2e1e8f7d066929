"""A study in words: the verdict of its runs, the best method, and what forbids a comparison."""

from __future__ import annotations

import copy

import pytest

from genuq.analysis.evaluation_entries import JudgeEntry, Summary, SummaryRow
from genuq.report.study.runs import StudyRun, StudyRuns
from genuq.report.study.verdict import study_headline, study_warnings, verdict_lines, verdict_of
from support.made_page import make_study, typed


@pytest.fixture(scope="module")
def made() -> dict:
    return make_study({"model": ["ddpm"], "posterior": ["kfac"]}, seeds=2, samples=8)


@pytest.fixture
def study(made) -> dict:
    return copy.deepcopy(made)


def told(finds, beats, auroc=0.7, values=("a",), seed=0):
    """As much of a run as its verdict needs."""
    row = SummaryRow("entropy", "E", "score", None, None, None, auroc, auroc - 0.1, auroc + 0.1, None, None, None)
    summary = Summary("-", finds, beats, None, [row])
    judge = JudgeEntry("classifier", 64, 5, 100, 100, None, None, True, [])
    return StudyRun(f"{values}{seed}", "0", "-", values, seed, "entropy", summary, judge, 1.0, None, [], {}, {})


def study_of(keys, runs):
    nothing = {"absent": [], "unevaluated": [], "left_out": [], "asked": None, "question": None}
    return StudyRuns(
        "s", commands=[], genuq_version="", keys=keys, runs=runs, samples_shown=0, samples_total=0, **nothing
    )


@pytest.mark.parametrize(
    ("finds", "beats", "words"),
    [
        (True, True, "finds bad samples"),
        (True, None, "finds bad samples"),
        (True, False, "no better than a control"),
        (None, True, "not established"),
        (False, False, "points the wrong way"),
    ],
)
def test_verdict_of_a_run(finds, beats, words):
    assert verdict_of(told(finds, beats)) == words


def test_the_headline_counts_runs_by_their_verdict():
    runs = [told(True, True), told(True, False), told(True, False), told(None, None), told(False, None)]
    assert study_headline(runs) == (
        "3 of 5 runs find the bad samples, 1 of them better than their controls.",
        "1 could not be shown to; 1 trust bad samples more than good ones.",
    )
    assert study_headline(runs[1:4])[0] == "2 of 3 runs find the bad samples, but none better than its controls."
    assert study_headline([told(None, None)] * 2) == ("None of 2 runs was shown to find the bad samples.", "")
    assert study_headline([]) == ("No run of this study has been evaluated yet.", "")


def test_the_best_method_is_the_best_mean_over_seeds_not_the_best_run():
    runs = [told(True, True, auroc, (name,), seed) for name, pair in {"a": (0.9, 0.5), "b": (0.8, 0.76)}.items()
            for seed, auroc in enumerate(pair)]  # fmt: skip
    best, controls = verdict_lines(study_of(["model"], runs))
    assert best.startswith(
        "Highest mean AUROC: 0.78 (0.76 to 0.80 over 2 seeds), by model = b. It was chosen as the best"
    )
    assert controls == "In all 4 runs the score beats every control."


def test_a_single_seed_has_its_own_interval():
    line = verdict_lines(study_of(["model"], [told(True, False, 0.7), told(True, True, 0.6, ("b",))]))
    assert line[0].startswith("Highest AUROC: 0.70, 95 % interval [0.60, 0.80], by model = a.")
    assert line[1] == "In 1 of 2 runs a control does as well as the score, or better."


def test_what_forbids_a_comparison_is_said(study):
    assert study_warnings(typed(study)) == []
    study["runs"][0]["judge"] = study["runs"][0]["judge"] | {"k": 3, "independent": False}
    study["runs"][1]["missing"] = ["evaluate"]
    study |= {
        "absent": ["model = ddpm, seed = 7", "model = flow, seed = 7"],
        "unevaluated": [f"late {n}" for n in range(8)],
    }
    assert study_warnings(typed(study)) == [
        "The runs were not judged alike (k 3, 5): compare FID, precision and recall only where they were.",
        "2 of the combinations of these choices are not there: model = ddpm, seed = 7; model = flow, seed = 7.",
        "In 1 run (model=ddpm,posterior=kfac,seed=0) the judge is the encoder that makes the score: "
        "that verdict does not count.",
        "Without results, and so not on this page: 8 runs (late 0, late 1, late 2, late 3, late 4, late 5 and 2 more).",
        "Artefacts of 1 run (model=ddpm,posterior=kfac,seed=1) are gone from the store: "
        "what needs them is missing here.",
    ]
