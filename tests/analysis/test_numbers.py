"""The numbers of an evaluation, each by its name."""

from __future__ import annotations

import dataclasses

from genuq.analysis.evaluation_entries import PromptEntry, TruthEntry
from genuq.analysis.numbers import numbers_of, numbers_of_application
from genuq.analysis.results import Application, OutcomeRow
from genuq.analysis.score_entries import Correlation, Curve, Detection, IntervalRow
from support.made_evaluation import EVALUATION


def test_numbers_of_an_evaluation_by_name():
    found = numbers_of(EVALUATION)
    assert found["entropy/auroc_low"] == 0.5 and found["entropy/fid_gain"] == 0.5 and found["entropy/spearman"] == -0.5
    assert (found["entropy/evaluations"], found["fid"], found["sample_accuracy"]) == (20.0, 8.0, 0.8)
    assert "entropy/ause" not in found and "entropy/label" not in found


def test_what_is_left_at_the_smallest_fraction_has_numbers_of_its_own() -> None:
    curve = Curve([1.0, 0.8], [9.0, 7.0], [8.5, 6.5], [9.5, 7.5], *[[9.0, 9.0]] * 3)
    own = dataclasses.replace(EVALUATION.scores[0], curves={"fid": curve})
    found = numbers_of(dataclasses.replace(EVALUATION, scores=[own, *EVALUATION.scores[1:]]))
    assert [found[f"entropy/fid_kept{end}"] for end in ("", "_low", "_high")] == [7.0, 6.5, 7.5]


def test_numbers_of_faults_bear_their_names():
    truth = TruthEntry(bad=["broken"], counts={"broken": 5, "rule_broken": 0}, valid=15, samples=20, tolerance=4.0)
    own = dataclasses.replace(EVALUATION.scores[0], detections={"broken": Detection(0.75, 0.5, 1.0, 5, 20)})
    scores = [own, *EVALUATION.scores[1:]]
    found = numbers_of(dataclasses.replace(EVALUATION, scores=scores, truth=truth))
    assert (found["entropy/auroc_of_broken"], found["entropy/auroc_of_broken_low"]) == (0.75, 0.5)
    assert (found["share_of_broken"], found["share_of_rule_broken"]) == (0.25, 0.0)
    assert not any("_of_" in name for name in numbers_of(EVALUATION))


def test_the_clip_score_of_a_run_with_prompts_and_its_correlation() -> None:
    shown, own = Correlation("clip_score", "spearman", -0.4, -0.6, -0.2, 40), EVALUATION.scores[0]
    entry = dataclasses.replace(own, correlations=[*own.correlations, shown])
    prompts = PromptEntry(4, True, "my/clip", IntervalRow(25.0, 24.0, 26.0))
    found = numbers_of(dataclasses.replace(EVALUATION, scores=[entry], prompts=prompts))
    assert (found["clip_score"], found["clip_score_low"], found["clip_score_high"]) == (25, 24, 26)
    assert found["entropy/spearman_clip_score"] == -0.4 and found["entropy/spearman_clip_score_high"] == -0.2
    assert not any("clip" in name for name in numbers_of(dataclasses.replace(EVALUATION, prompts=PromptEntry(4, True))))


def test_an_application_has_its_numbers_its_controls_and_their_difference() -> None:
    row = OutcomeRow("fid", 7.0, 6.5, 7.5, 8.0, 7.8, 8.2, -1.0, -1.4, -0.6, 40)
    undefined = OutcomeRow("recall", *[None] * 9, 40)
    found = numbers_of_application(Application("filter", "random", {}, [row, undefined], "Kept."))
    assert found == {
        **{"filter.fid": 7.0, "filter.fid_low": 6.5, "filter.fid_high": 7.5},
        **{"filter.fid_control": 8.0, "filter.fid_control_low": 7.8, "filter.fid_control_high": 8.2},
        **{"filter.fid_difference": -1.0, "filter.fid_difference_low": -1.4, "filter.fid_difference_high": -0.6},
    }
