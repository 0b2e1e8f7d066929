"""The numbers of an evaluation, each by its name."""

from __future__ import annotations

import dataclasses

from genuq.analysis.evaluation_entries import Detection, TruthEntry
from genuq.analysis.numbers import numbers_of
from support.made_evaluation import EVALUATION


def test_numbers_of_an_evaluation_by_name():
    found = numbers_of(EVALUATION)
    assert found["entropy/auroc_low"] == 0.5 and found["entropy/fid_gain"] == 0.5 and found["entropy/spearman"] == -0.5
    assert (found["entropy/evaluations"], found["fid"], found["sample_accuracy"]) == (20.0, 8.0, 0.8)
    assert "entropy/ause" not in found and "entropy/label" not in found


def test_numbers_of_faults_bear_their_names():
    truth = TruthEntry(bad=["broken"], counts={"broken": 5, "rule_broken": 0}, valid=15, samples=20, tolerance=4.0)
    own = dataclasses.replace(EVALUATION.scores[0], detections={"broken": Detection(0.75, 0.5, 1.0, 5, 20)})
    scores = [own, *EVALUATION.scores[1:]]
    found = numbers_of(dataclasses.replace(EVALUATION, scores=scores, truth=truth))
    assert (found["entropy/auroc_of_broken"], found["entropy/auroc_of_broken_low"]) == (0.75, 0.5)
    assert (found["share_of_broken"], found["share_of_rule_broken"]) == (0.25, 0.0)
    assert not any("_of_" in name for name in numbers_of(EVALUATION))
