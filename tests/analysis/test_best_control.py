"""Better than the best of k: by choosing on the other half, k lucky controls no longer beat a score of equal worth."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from genuq.analysis import Undefined, auroc, over_best_control
from genuq.analysis.best_control import against_best
from genuq.analysis.nested import keyed_folds
from genuq.errors import ConfigurationError


def planted(source: np.random.Generator, count: int = 300, controls: int = 8):
    """A score and controls, all of equal worth."""
    bad = source.random(count) < 0.3
    columns = source.normal(size=(controls + 1, count)) + 0.5 * bad
    return columns[0], {f"control {place}": column for place, column in enumerate(columns[1:])}, bad


def test_each_half_is_compared_with_the_best_control_of_the_other():
    score, controls, bad = planted(np.random.default_rng(0))
    found = over_best_control(score, controls, bad, bootstrap=50)
    halves = keyed_folds(bad, 2, 0)
    wins = pairs = 0.0
    for half, name in enumerate(found.chosen):
        own, other = halves == half, halves != half
        assert name == max(controls, key=lambda one: roc_auc_score(bad[other], controls[one][other]))
        weight = bad[own].sum() * (~bad[own]).sum()
        gap = roc_auc_score(bad[own], score[own]) - roc_auc_score(bad[own], controls[name][own])
        wins, pairs = wins + weight * gap, pairs + weight
    assert found.difference.value == pytest.approx(wins / pairs, abs=1e-12)


def test_among_equals_there_is_no_bias_where_choosing_on_the_same_samples_has_one():
    source = np.random.default_rng(1)
    apart, same, excluded = [], [], 0
    for _ in range(60):
        score, controls, bad = planted(source)
        found = over_best_control(score, controls, bad, bootstrap=100)
        apart.append(found.difference.value)
        excluded += found.difference.excludes(0)
        best = max(auroc(control, bad, bootstrap=2).value for control in controls.values())
        same.append(auroc(score, bad, bootstrap=2).value - best)
    error = np.std(apart) / 60**0.5
    assert abs(np.mean(apart)) < 3 * error
    assert np.mean(same) < -5 * error
    assert excluded <= 9


def test_units_of_controls_do_not_matter():
    score, controls, bad = planted(np.random.default_rng(2), controls=2)
    stretched = {name: np.exp(place + 3 * column) for place, (name, column) in enumerate(controls.items())}
    assert over_best_control(score, stretched, bad, bootstrap=20) == over_best_control(
        score, controls, bad, bootstrap=20
    )


def test_without_controls_or_bad_samples():
    score, controls, bad = planted(np.random.default_rng(3))
    with pytest.raises(ConfigurationError, match="no control"):
        over_best_control(score, {}, bad)
    assert over_best_control(score, controls, bad & False) == Undefined("none of the 300 samples are bad")
    assert isinstance(over_best_control(score, controls, np.arange(300) == 7), Undefined)


def test_within_classes_pairs_are_of_one_class_and_half():
    source = np.random.default_rng(5)
    score, controls, bad = planted(source, controls=2)
    classes = source.integers(0, 3, len(bad))
    score, controls = score + 5 * classes, {name: column + 5 * classes for name, column in controls.items()}
    found = against_best(score, controls, bad, classes=classes)
    half = keyed_folds(bad, 2, 0)

    def counted(values: np.ndarray, chosen: np.ndarray) -> tuple[float, int]:
        good = values[chosen & ~bad]
        return sum(float((one > good).sum()) for one in values[chosen & bad]), int((chosen & bad).sum()) * len(good)

    def over(values: np.ndarray, rows: list[np.ndarray]) -> float:
        wins, pairs = zip(*(counted(values, one) for one in rows))
        return sum(wins) / sum(pairs)

    of_half = {place: [(half == place) & (classes == label) for label in range(3)] for place in (0, 1)}
    chosen = tuple(max(controls, key=lambda name: over(controls[name], of_half[1 - place])) for place in (0, 1))
    rival = np.where(half == 0, controls[chosen[0]], controls[chosen[1]])
    everywhere = [*of_half[0], *of_half[1]]
    assert found.chosen == chosen
    value = float(found.one.statistic(np.ones((1, len(bad))))[0])
    assert value == pytest.approx(over(score, everywhere) - over(rival, everywhere), abs=1e-12)
