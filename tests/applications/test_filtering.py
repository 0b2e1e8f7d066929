"""Filters keep what they say; means beside random choice are exact; per-class filters keep the mix of classes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genuq.analysis import keep_lowest
from genuq.applications import Filter, Judgement, Replicates, filter_outcome
from genuq.applications.filtering import kept_mean, random_mean
from genuq.applications.outcome import Rows
from genuq.errors import ConfigurationError
from genuq.metrics import frechet_distance

SOURCE = np.random.default_rng(0)
N = 120
SCORE, CLASSES = SOURCE.standard_normal(N), SOURCE.integers(0, 3, N)
QUALITY = -SCORE + 0.5 * SOURCE.standard_normal(N) + CLASSES
FEATURES = torch.from_numpy(SOURCE.standard_normal((N, 4)) + 0.5 * SCORE[:, None])
REAL = torch.from_numpy(SOURCE.standard_normal((300, 4)))
JUDGEMENT = Judgement(FEATURES, {"confidence": torch.from_numpy(QUALITY)})
QUICK = Replicates(200, 0)


@pytest.mark.parametrize("per_class", [False, True])
def test_sizes(per_class: bool) -> None:
    for rule, size in ((Filter(fraction=0.3, per_class=per_class), 36), (Filter(count=50, per_class=per_class), 50)):
        kept = rule.keep(SCORE, CLASSES)
        assert len(kept) == size
        shares = np.bincount(CLASSES[kept]) / np.bincount(CLASSES)
        assert (np.abs(shares - size / N) < 0.03).all() == per_class
    threshold = Filter(threshold=0.5).keep(SCORE)
    assert threshold.tolist() == np.flatnonzero(SCORE <= 0.5).tolist()


@pytest.mark.parametrize("per_class", [False, True])
@pytest.mark.parametrize("rule", [{"fraction": 0.4}, {"count": 31}])
def test_what_the_intervals_take_is_what_the_filter_keeps(rule: dict, per_class: bool) -> None:
    chosen = Filter(**rule, per_class=per_class)
    taken = chosen.taken(SCORE, CLASSES if per_class else None)(np.ones((1, N)))[0]
    assert np.flatnonzero(taken).tolist() == chosen.keep(SCORE, CLASSES).tolist()
    assert set(taken) == {0.0, 1.0}


def test_means_against_all_random_choices_of_equal_size() -> None:
    found = filter_outcome(Filter(fraction=0.25), SCORE, JUDGEMENT, REAL, 3, replicates=QUICK, half_samples=10)
    row = found.row("confidence")
    assert row.ours.value == pytest.approx(QUALITY[keep_lowest(SCORE, 0.25)].mean())
    assert row.control.value == pytest.approx(QUALITY.mean())
    assert row.difference.low > 0 and "better" in found.sentence
    assert row.n == N and found.settings["kept"] == 30


def test_per_class_control_has_the_same_mix_of_classes() -> None:
    rule = Filter(fraction=0.25, per_class=True)
    row = filter_outcome(rule, SCORE, JUDGEMENT, REAL, 3, CLASSES, QUICK, 10).row("confidence")
    kept = rule.keep(SCORE, CLASSES)
    expected = sum((CLASSES[kept] == c).sum() * QUALITY[c == CLASSES].mean() for c in range(3)) / len(kept)
    assert row.control.value == pytest.approx(expected)
    source = np.random.default_rng(1)
    drawn = [QUALITY[rule.keep(source.random(N), CLASSES)].mean() for _ in range(2000)]
    assert row.control.value == pytest.approx(np.mean(drawn), abs=4 * np.std(drawn) / 2000**0.5 + 0.01)


def test_a_score_that_knows_nothing_gains_nothing() -> None:
    """The interval of the difference holds zero for 95 % of random scores."""
    held = 0
    for seed in range(100):
        score = np.random.default_rng(seed).random(N)
        rule = Filter(fraction=0.5)
        take = rule.taken(score, None)
        rows = Rows()
        columns = (kept_mean(take, QUALITY), random_mean(take, QUALITY, None))
        rows.statistics("confidence", *columns, N, Replicates(200, seed))
        held += rows.found[0].difference.low <= 0 <= rows.found[0].difference.high
    assert 88 <= held <= 100


def test_set_metrics_are_those_of_the_kept_set() -> None:
    found = filter_outcome(Filter(fraction=0.5), SCORE, JUDGEMENT, REAL, 3, replicates=QUICK, half_samples=20)
    row = found.row("fid")
    kept = keep_lowest(SCORE, 0.5)
    assert row.ours.value == pytest.approx(frechet_distance(REAL, FEATURES[kept]), rel=1e-6)
    assert row.difference.value == pytest.approx(row.ours.value - row.control.value)
    assert row.difference.low < row.difference.value < row.difference.high
    assert {"precision", "recall"} <= {each.measure for each in found.rows}


def test_too_few_samples_for_set_metrics_are_a_note() -> None:
    few = Judgement(FEATURES[:10], {"confidence": torch.from_numpy(QUALITY[:10])})
    found = filter_outcome(Filter(fraction=0.5), SCORE[:10], few, REAL, 5, replicates=QUICK)
    assert [row.measure for row in found.rows] == ["confidence"]
    assert found.notes[0].startswith("No fid, precision, recall: ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"none given: give exactly one of fraction"),
        ({"fraction": 0.5, "count": 3}, r"application.fraction = .*, application.count = 3: give exactly one"),
        ({"fraction": 1.0}, r"application\.fraction = 1\.0"),
        ({"count": 120}, r"application\.count = 120; it must lie between 1 and 119 of 120 samples"),
        ({"threshold": 99.0}, r"application\.threshold keeps 120 of 120 samples, whose scores go from"),
        ({"threshold": 0.0, "per_class": True}, r"application\.per_class needs a fraction or a count"),
        ({"fraction": 0.001}, r"application\.fraction keeps 0 of 120"),
    ],
)
def test_refusals(options: dict, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Filter(**options).keep(SCORE, CLASSES)


def test_filtering_within_classes_needs_classes() -> None:
    with pytest.raises(ConfigurationError, match=r"the model knows no classes"):
        Filter(fraction=0.5, per_class=True).keep(SCORE)
