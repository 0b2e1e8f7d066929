"""Filtering: what is kept, curves and gains of planted and random scores, intervals that mean what they say."""

from __future__ import annotations

import numpy as np
import pytest

from genuq.analysis import RetentionStudy, SubsetJudge, keep_lowest, retention_curves
from genuq.analysis.intervals import half_samples
from genuq.errors import ConfigurationError, DataError
from genuq.metrics import frechet_distance, precision_recall
from support.planted_samples import BAD, COUNT, FAKE, JUDGE, NOISE, REAL, K

OPTIONS = {"fractions": (0.8, 0.6), "resamples": 40, "random_repeats": 40}


FOUND = retention_curves(BAD + 0.3 * NOISE, JUDGE, **OPTIONS)


def test_keeps_the_lowest_and_breaks_ties_by_index():
    assert keep_lowest([3.0, 1, 2, 1, 1], 0.4).tolist() == [1, 3]
    assert keep_lowest([3.0, 1, 2, 1, 1], 0.5).tolist() == [1, 3, 4]  # 2.5 rounds up
    assert keep_lowest([0.0, 0, 0, 0], 1.0).tolist() == [0, 1, 2, 3]


def test_keeps_the_lowest_of_each_class():
    score, classes = np.arange(12.0), np.repeat([7, 3], 6)
    assert keep_lowest(score, 0.5).tolist() == [0, 1, 2, 3, 4, 5]
    assert keep_lowest(score, 0.5, classes).tolist() == [0, 1, 2, 6, 7, 8]


@pytest.mark.parametrize("fraction", [0.3, 0.5, 0.77])
def test_per_class_filtering_keeps_as_many_and_evenly(fraction):
    source = np.random.default_rng(0)
    classes, score = source.integers(0, 9, 101), source.random(101)
    kept = keep_lowest(score, fraction, classes)
    assert len(kept) == len(keep_lowest(score, fraction))
    sizes, kept_sizes = np.bincount(classes), np.bincount(classes[kept], minlength=9)
    assert np.abs(kept_sizes - fraction * sizes).max() <= 1
    for label in range(9):
        own = score[classes == label]
        assert set(score[kept][classes[kept] == label]) == set(np.sort(own)[: kept_sizes[label]])


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.1])
def test_impossible_fractions_are_refused(fraction):
    with pytest.raises(ConfigurationError, match=r"metric\.fractions"):
        keep_lowest([1.0, 2.0], fraction)


def test_curves_are_the_metrics_of_what_is_kept():
    score = BAD + 0.3 * NOISE
    for place, fraction in enumerate([1.0, 0.8, 0.6]):
        kept = FAKE[keep_lowest(score, fraction)]
        assert FOUND.curves["fid"].fraction[place] == fraction
        assert FOUND.curves["fid"].value[place] == pytest.approx(frechet_distance(REAL, kept))
        assert FOUND.curves["recall"].value[place] == pytest.approx(precision_recall(REAL, kept, K).recall)


def test_intervals_hold_the_value_and_stay_within_the_metrics_range():
    for name, curve in FOUND.curves.items():
        assert (np.array(curve.low) <= curve.value).all()
        assert (np.array(curve.high) >= curve.value).all()
        assert min(curve.low) >= 0
        assert name in ("fid", "density") or max(curve.high) <= 1
        assert (np.array(curve.random_low) <= np.array(curve.random_value) + 1e-9).all()
        assert (np.array(curve.random_high) >= np.array(curve.random_value) - 1e-9).all()


def test_nothing_filtered_is_the_same_for_method_and_random():
    for curve in FOUND.curves.values():
        assert curve.value[0] == pytest.approx(curve.random_value[0])
        assert curve.random_low[0] == curve.random_high[0]


def test_a_planted_score_gains_and_its_reverse_loses():
    for name in ("fid", "precision", "density"):
        assert FOUND.gains[name].low > 0
        assert FOUND.curves[name].low[1] <= FOUND.curves[name].value[1]
    reverse = retention_curves(-(BAD + 0.3 * NOISE), JUDGE, **OPTIONS)
    assert reverse.gains["fid"].high < 0
    assert reverse.gains["precision"].high < 0


def test_gain_is_the_area_between_the_curves_over_their_width():
    curve = FOUND.curves["fid"]
    gap = np.array(curve.random_value) - curve.value
    expected = ((gap[0] + gap[1]) / 2 * 0.2 + (gap[1] + gap[2]) / 2 * 0.2) / 0.4
    assert FOUND.gains["fid"].value == pytest.approx(expected)


def test_random_scores_gain_nothing_about_as_often_as_the_intervals_say():
    study = RetentionStudy(JUDGE, **OPTIONS)
    gains = [study.evaluate(np.random.default_rng(50 + i).random(COUNT)).gains for i in range(40)]
    for name in ("fid", "precision"):
        covered = np.mean([gain[name].low <= 0 <= gain[name].high for gain in gains])
        assert 0.82 <= covered <= 1.0
        assert (
            abs(np.mean([gain[name].value for gain in gains]))
            < np.mean([g[name].high - g[name].low for g in gains]) / 4
        )


def test_half_samples_have_the_spread_of_new_samples():
    """The interval of precision, a mean, against its closed form sqrt(p (1 - p) / N)."""
    curve = retention_curves(NOISE, JUDGE, fractions=(0.5,), resamples=400, random_repeats=2).curves["precision"]
    p = curve.value[0]
    assert curve.high[0] - p == pytest.approx(1.96 * np.sqrt(p * (1 - p) / COUNT), rel=0.12)


def test_a_seed_fixes_everything_and_scores_do_not_affect_each_other():
    study = RetentionStudy(JUDGE, **OPTIONS)
    study.evaluate(NOISE)
    assert study.evaluate(BAD + 0.3 * NOISE) == FOUND
    assert retention_curves(BAD + 0.3 * NOISE, JUDGE, **OPTIONS, seed=1) != FOUND


def test_per_class_filtering_cannot_gain_from_the_mix_of_classes():
    """One class is bad as a whole: a global filter removes it, a filter within classes has nothing to find."""
    score = BAD + 1e-3 * NOISE
    options = {**OPTIONS, "fractions": (0.9, 0.8)}
    overall = retention_curves(score, JUDGE, **options)
    within = retention_curves(score, JUDGE, classes=BAD.astype(int), **options)
    assert overall.gains["precision"].low > 0
    assert within.gains["precision"].low < 0 < within.gains["precision"].high


def test_halves_are_halves_without_repetition():
    for rows in half_samples(31, 5, seed=0):
        assert len(set(rows.tolist())) == len(rows) == 15


def test_too_few_samples_or_fractions_are_refused():
    with pytest.raises(DataError, match=r"30 samples are too few.*60% of their halves.*sampler\.samples"):
        retention_curves(np.arange(12.0).repeat(3)[:30], SubsetJudge(FAKE[:30], REAL, 9), fractions=(0.6,))
    with pytest.raises(ConfigurationError, match=r"metric\.fractions"):
        RetentionStudy(JUDGE, fractions=(1.0,))
