"""The numbers of an evaluation, each by its name."""

from __future__ import annotations

from genuq.analysis.numbers import numbers_of
from support.made_evaluation import EVALUATION


def test_numbers_of_an_evaluation_by_name():
    found = numbers_of(EVALUATION)
    assert found["entropy/auroc_low"] == 0.5 and found["entropy/fid_gain"] == 0.5 and found["entropy/spearman"] == -0.5
    assert (found["entropy/evaluations"], found["fid"], found["sample_accuracy"]) == (20.0, 8.0, 0.8)
    assert "entropy/ause" not in found and "entropy/label" not in found
