"""Metrics in quantile bins of a score: planted, constant, and too many for the samples."""

from __future__ import annotations

import pytest

from genuq.analysis import SubsetJudge, quantile_bins
from genuq.analysis.filtering import quantile_groups
from genuq.analysis.intervals import Undefined
from genuq.errors import DataError
from genuq.metrics import frechet_distance
from support.planted_samples import BAD, FAKE, JUDGE, NOISE, REAL, K


def test_bins_rise_with_a_planted_score():
    bins = quantile_bins(BAD + 0.3 * NOISE, JUDGE, bins=4, resamples=30)
    assert bins["fid"].spearman.value > 0.7
    assert bins["precision"].spearman.value < -0.7
    assert bins["fid"].centre == sorted(bins["fid"].centre)
    lowest = FAKE[quantile_groups(BAD + 0.3 * NOISE, 4)[0]]
    assert bins["fid"].value[0] == pytest.approx(frechet_distance(REAL, lowest))


def test_bins_of_equal_value_have_no_correlation():
    far = SubsetJudge(FAKE + 100, REAL, K, metrics=("precision",))
    assert isinstance(quantile_bins(NOISE, far, bins=4, resamples=5)["precision"].spearman, Undefined)


def test_more_bins_than_the_samples_allow_are_refused():
    with pytest.raises(DataError, match=r"2 to 20 bins, not 21.*metric\.bins"):
        quantile_bins(NOISE, JUDGE, bins=21)
