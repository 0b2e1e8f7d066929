"""The best of n: groups of one class each, and the expected order statistic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from genuq.applications import Judgement, Replicates, best_of, best_of_n_outcome, candidate_groups
from genuq.errors import ConfigurationError


@pytest.mark.parametrize("n", [2, 4, 8])
def test_the_chosen_score_is_the_expected_minimum_of_n(n: int) -> None:
    """Of n standard normal numbers, by numerical integration of n x pdf x (1 - cdf)^(n - 1); quality is minus it."""
    groups = 3000
    score = np.random.default_rng(n).standard_normal(n * groups)
    judgement = Judgement(torch.zeros(len(score), 1), {"confidence": torch.from_numpy(-score)})
    found = best_of_n_outcome(n, score, judgement, replicates=Replicates(200))
    expected, _ = quad(lambda x: x * n * norm.pdf(x) * norm.sf(x) ** (n - 1), -10, 10)
    row = found.row("score")
    assert row.ours.value == pytest.approx(expected, abs=0.06)  # three standard errors
    assert row.control.value == pytest.approx(0, abs=0.05)
    assert found.row("confidence").difference.value == pytest.approx(-row.difference.value)
    assert found.settings == {"n": n, "choices": groups} and row.n == groups


def test_a_group_has_one_class_and_every_sample_at_most_one_group() -> None:
    classes = np.random.default_rng(0).integers(0, 4, 50)
    groups = candidate_groups(50, 3, classes)
    assert groups.shape == (sum(count // 3 for count in np.bincount(classes)), 3)
    assert (classes[groups] == classes[groups[:, :1]]).all()
    assert len(np.unique(groups)) == groups.size


def test_the_lowest_of_each_group_and_the_first_of_equals() -> None:
    groups = np.array([[0, 1, 2], [5, 4, 3]])
    assert best_of([3.0, 1.0, 1.0, 7.0, 7.0, 9.0], groups).tolist() == [1, 4]


def test_a_score_that_knows_nothing_is_no_better_than_any_candidate() -> None:
    source, held = np.random.default_rng(0), 0
    for seed in range(100):
        judgement = Judgement(torch.zeros(200, 1), {"confidence": torch.from_numpy(source.standard_normal(200))})
        found = best_of_n_outcome(4, source.random(200), judgement, replicates=Replicates(200, seed))
        difference = found.row("confidence").difference
        held += difference.low <= 0 <= difference.high
    assert 86 <= held <= 100


@pytest.mark.parametrize(("n", "message"), [(1, r"application\.n = 1; a"), (40, r"no class has more than 2 of 4")])
def test_refusals(n: int, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        candidate_groups(4, n, [0, 0, 1, 1])
