"""The same score on real images; and what a judge with errors lets a perfect score show."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from genuq.analysis import Undefined, auroc, observable_auroc, placebo
from genuq.errors import DataError


def test_a_score_of_what_is_hard_to_judge_is_told_from_one_that_is_not():
    source = np.random.default_rng(0)
    errors = source.random(400) < 0.1
    hard, apart = source.normal(size=400) + errors, source.normal(size=400)
    found = placebo(hard, errors, bootstrap=300)
    assert found.hard_to_judge and found.auroc == auroc(hard, errors, bootstrap=300)
    assert (found.flagged.value, found.flagged.low < 0.1 < found.flagged.high) == (errors.mean(), True)
    assert not placebo(apart, errors, bootstrap=300).hard_to_judge
    assert not placebo(-hard, errors, bootstrap=300).hard_to_judge


def test_a_judge_without_errors_gives_no_placebo():
    found = placebo(np.arange(50), np.zeros(50))
    assert isinstance(found.auroc, Undefined) and not found.hard_to_judge and found.flagged.value == 0.0
    with pytest.raises(DataError, match="needs real test images"):
        placebo([], [])


def test_what_a_judge_with_errors_shows_is_what_a_simulation_shows():
    source = np.random.default_rng(1)
    count, good_among_bad, bad_among_good = 200_000, 0.6, 0.05
    judged = source.random(count) < 0.2
    bad = np.where(judged, source.random(count) > good_among_bad, source.random(count) < bad_among_good)
    score = source.normal(size=count) + 1.2 * bad
    wanted = observable_auroc(roc_auc_score(bad, score), good_among_bad, bad_among_good)
    assert roc_auc_score(judged, score) == pytest.approx(wanted, abs=0.005)
    assert observable_auroc(1.0, 0.78, 0.0) == pytest.approx(0.61)
    assert observable_auroc(0.5, 0.3, 0.2) == 0.5
    with pytest.raises(DataError, match="good_among_bad"):
        observable_auroc(0.7, 1.5, 0.0)
