"""Which controls a score must add to, and that it adds what the nested models say."""

from __future__ import annotations

import numpy as np
import pytest

from genuq.analysis import Undefined, nested_gain
from genuq.analysis.control_models import ControlModels

SOURCE = np.random.default_rng(0)
COUNT = 300
CLASSES = SOURCE.integers(0, 3, COUNT)
BAD = SOURCE.random(COUNT) < 0.2 + 0.1 * CLASSES
JITTER, COMPLEXITY, SCORE = SOURCE.normal(size=(3, COUNT)) + np.array([[0.5], [0.2], [1.0]]) * BAD


def models(controls=None, classes=CLASSES, complexity=COMPLEXITY, bad=BAD) -> ControlModels:
    controls = {"jitter": JITTER} if controls is None else controls
    return ControlModels(bad, controls, classes=classes, complexity=complexity, clusters=None, bootstrap=20, seed=0)


def test_a_score_adds_to_class_complexity_and_all_controls():
    found = models().adds("entropy", SCORE)
    wanted = nested_gain([SCORE], BAD, [JITTER, COMPLEXITY], classes=CLASSES, bootstrap=20)
    assert (found.controls, found.by_class) == (["jitter", "complexity"], True)
    assert (found.value, found.low, found.high) == (wanted.gain.value, wanted.gain.low, wanted.gain.high)
    assert (found.base, found.full) == (wanted.base.value, wanted.full.value)
    assert (found.statistic, found.freedom, found.p) == (wanted.statistic, wanted.freedom, wanted.p)


def test_a_control_adds_to_the_others_and_not_to_its_double():
    twice = models({"jitter": JITTER, "png": COMPLEXITY})
    assert twice.adds("jitter", JITTER).controls == ["png", "complexity"]
    assert twice.adds("png", COMPLEXITY).controls == ["jitter"]
    named = models({"jitter": JITTER, "complexity": COMPLEXITY})
    assert named.adds("entropy", SCORE).controls == ["jitter", "complexity"]


@pytest.mark.parametrize(("classes", "found"), [(CLASSES, []), (None, None)])
def test_where_nothing_else_is_known_there_is_nothing_to_add_to(classes, found):
    addition = models({}, classes, None).adds("entropy", SCORE)
    assert addition is None if found is None else addition.controls == found


def test_too_few_bad_samples_are_said():
    assert isinstance(models(bad=np.arange(COUNT) < 5).adds("entropy", SCORE), Undefined)
