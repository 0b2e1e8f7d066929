"""Means of what is kept, beside the filter of the applications, which sorts and weighs every replicate anew."""

from __future__ import annotations

import numpy as np
import pytest

from genuq.analysis.filtering import keep_lowest
from genuq.analysis.intervals import bootstrap_interval
from genuq.analysis.kept_means import kept_means
from genuq.applications.filtering import Filter, kept_mean
from genuq.applications.outcome import mean_of
from genuq.errors import ConfigurationError, DataError

SOURCE = np.random.default_rng(0)
SCORE = SOURCE.normal(size=301)
TIED = SOURCE.integers(0, 4, 301).astype(float)
VALUES = SCORE + SOURCE.normal(size=301)


@pytest.mark.parametrize("score", [SCORE, TIED, np.where(SCORE > 1, np.inf, SCORE)])
def test_means_and_intervals_are_those_of_the_application_at_every_fraction(score):
    found = kept_means(score, VALUES, [0.9, 0.5, 0.13], replicates=60, seed=3)
    assert found.fraction == [1.0, 0.9, 0.5, 0.13]
    for place, fraction in enumerate(found.fraction[1:], start=1):
        kept = kept_mean(Filter(fraction=fraction).taken(score, None), VALUES)
        oracle = bootstrap_interval(kept, 301, 60, 3)
        gain = bootstrap_interval(lambda w, kept=kept: kept(w) - mean_of(VALUES)(w), 301, 60, 3)
        for ours, theirs in ((found.mean[place], oracle), (found.gain[place], gain)):
            assert (ours.value, ours.low, ours.high) == pytest.approx((theirs.value, theirs.low, theirs.high))
        assert ours.value == pytest.approx(VALUES[keep_lowest(score, fraction)].mean() - VALUES.mean())


def test_all_samples_gain_nothing():
    found = kept_means(SCORE, VALUES, [0.5], replicates=20)
    assert found.mean[0].value == pytest.approx(VALUES.mean())
    assert (found.gain[0].value, found.gain[0].low, found.gain[0].high) == (0, 0, 0)


def test_a_score_that_knows_nothing_gains_nothing():
    """95 % intervals of the gain hold zero for about 95 % of 300 random scores."""
    source = np.random.default_rng(1)
    drawn = [(source.random(200), source.normal(size=200)) for _ in range(300)]
    gains = [kept_means(score, values, [0.5], 100, seed).gain[1] for seed, (score, values) in enumerate(drawn)]
    held = [gain.low <= 0 <= gain.high for gain in gains]
    assert 0.90 <= np.mean(held) <= 0.98


def test_bad_input_is_refused():
    with pytest.raises(DataError, match="values"):
        kept_means(SCORE, VALUES[1:], [0.5])
    with pytest.raises(ConfigurationError, match="Fractions"):
        kept_means(SCORE, VALUES, [1.5])
