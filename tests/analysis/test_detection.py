"""AUROC against scikit-learn; AUSE against a loop over every kept set and over every order of ties."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from genuq.analysis import Undefined, auroc, auroc_within, ause
from genuq.analysis.detection import Concordance
from genuq.errors import DataError

COUNT = 80


def scored(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    source = np.random.default_rng(seed)
    bad = source.random(COUNT) < 0.3
    return np.round(source.normal(size=COUNT) + bad, 1), bad  # rounded: with ties


def test_auroc_agrees_with_scikit_learn_also_in_its_replicates():
    score, bad = scored()
    source = np.random.default_rng(0)
    found = auroc(score, bad, bootstrap=2000)
    assert found.value == pytest.approx(roc_auc_score(bad, score), abs=1e-12)
    rows = [source.integers(0, COUNT, COUNT) for _ in range(400)]
    expected = np.quantile([roc_auc_score(bad[drawn], score[drawn]) for drawn in rows], [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=0.03)


def test_a_score_and_its_reverse_add_up_to_one():
    score, bad = scored(1)
    assert auroc(score, bad).value + auroc(-score, bad).value == pytest.approx(1.0)
    assert auroc(bad.astype(float), bad).value == 1.0


def test_a_constant_score_is_chance_exactly():
    _, bad = scored(2)
    found = auroc(np.ones(COUNT), bad, bootstrap=100)
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(("bad", "word"), [(np.ones(COUNT), "all"), (np.zeros(COUNT), "none")])
def test_without_both_kinds_there_is_no_auroc(bad, word):
    assert auroc(scored()[0], bad) == Undefined(f"{word} of the 80 samples are bad")


def test_a_single_bad_sample_leaves_finite_intervals():
    score, _ = scored(3)
    found = auroc(score, np.arange(COUNT) == 5, bootstrap=200)
    assert np.isfinite([found.value, found.low, found.high]).all()


def of_pairs(score, bad, classes, weights):
    """Wins over the pairs of one class, every pair by itself."""
    wins = pairs = 0.0
    for i, j in itertools.product(np.flatnonzero(bad), np.flatnonzero(~bad)):
        if classes[i] == classes[j]:
            weight = weights[i] * weights[j]
            wins += weight * ((score[i] > score[j]) + 0.5 * (score[i] == score[j]))
            pairs += weight
    return wins / pairs


def test_within_classes_only_pairs_of_one_class_count_also_in_the_replicates():
    score, bad = scored(8)
    classes = np.random.default_rng(9).integers(0, 4, COUNT)
    bad[classes == 2] = False
    score[3] = np.inf
    weights = np.random.default_rng(10).integers(0, 3, (5, COUNT)).astype(float)
    wanted = [of_pairs(score, bad, classes, row) for row in weights]
    np.testing.assert_allclose(Concordance(score, bad, classes)(weights), wanted, rtol=1e-12)
    found = auroc_within(score, bad, classes, bootstrap=100)
    assert found.value == pytest.approx(of_pairs(score, bad, classes, np.ones(COUNT)), rel=1e-12)


def test_a_score_that_knows_the_class_alone_knows_nothing_within():
    source = np.random.default_rng(11)
    classes = source.integers(0, 5, 2000)
    bad = source.random(2000) < 0.1 * (1 + classes)
    assert auroc(classes, bad, bootstrap=100).low > 0.6
    assert auroc_within(classes, bad, classes, bootstrap=100).value == 0.5
    found = auroc_within(classes + 0.001 * source.normal(size=2000), bad, classes, bootstrap=200)
    assert not found.excludes(0.5)


def test_without_a_class_of_both_kinds_there_is_no_auroc_within():
    score, bad = scored(12)
    assert auroc_within(score, bad, bad) == Undefined("no class has both bad and good samples")
    assert auroc_within(score, np.ones(COUNT), bad) == Undefined("all of the 80 samples are bad")


def loop_area(score, error):
    ordered = error[np.argsort(score, kind="stable")]
    return np.mean([ordered[:kept].mean() for kept in range(1, len(ordered) + 1)])


def test_ause_agrees_with_a_loop_over_kept_sets():
    source = np.random.default_rng(4)
    error = source.exponential(size=COUNT)
    score = error + source.normal(size=COUNT)
    expected = (loop_area(score, error) - loop_area(error, error)) / error.mean()
    assert ause(score, error, bootstrap=10).value == pytest.approx(expected, abs=1e-12)


def test_ties_count_as_the_average_over_their_orders():
    score, error = np.array([0.0, 1, 1, 1, 2]), np.array([2.0, 0, 5, 1, 3])
    orders = itertools.permutations([0.1, 0.2, 0.3])
    areas = [loop_area(score + np.array([0, *order, 0]), error) for order in orders]
    expected = (np.mean(areas) - loop_area(error, error)) / error.mean()
    assert ause(score, error, bootstrap=10).value == pytest.approx(expected, abs=1e-12)


def test_the_error_itself_is_a_perfect_score():
    _, bad = scored(5)
    for error in (bad.astype(float), np.random.default_rng(6).random(COUNT)):
        found = ause(3 * error + 1, error, bootstrap=100)
        assert (found.value, found.low, found.high) == pytest.approx((0, 0, 0), abs=1e-12)
        assert ause(-error, error, bootstrap=100).low > 0.1


def test_a_constant_score_has_the_ause_of_a_random_one():
    error = np.random.default_rng(7).random(COUNT)
    constant = ause(np.zeros(COUNT), error, bootstrap=10).value
    shuffled = [ause(np.random.default_rng(i).random(COUNT), error, bootstrap=2).value for i in range(300)]
    assert constant == pytest.approx(np.mean(shuffled), abs=4 * np.std(shuffled) / 300**0.5)


def test_degenerate_errors():
    assert ause(scored()[0], np.zeros(COUNT)) == Undefined("none of the 80 samples has an error")
    assert ause(scored()[0], np.ones(COUNT), bootstrap=10).value == 0.0  # every order is as good
    with pytest.raises(DataError, match="not negative"):
        ause(scored()[0], -np.ones(COUNT))
