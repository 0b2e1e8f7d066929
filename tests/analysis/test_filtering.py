"""Which samples are kept: counts, ties, the mix of classes."""

from __future__ import annotations

import numpy as np
import pytest

from genuq.analysis.filtering import keep_lowest, kept_count, quantile_groups
from genuq.errors import ConfigurationError


@pytest.mark.parametrize(
    ("fraction", "count", "kept"), [(0.5, 5, 3), (0.5, 4, 2), (0.1, 4, 0), (1.0, 7, 7), (0.3, 5, 2)]
)
def test_halves_are_rounded_up(fraction, count, kept):
    assert kept_count(fraction, count) == kept


def test_the_lowest_are_kept_and_the_earlier_of_equals():
    assert keep_lowest([3.0, 1.0, 2.0, 1.0, 1.0], 0.4).tolist() == [1, 3]
    assert keep_lowest([-np.inf, np.inf, 0.0], 2 / 3).tolist() == [0, 2]


@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.8])
def test_by_class_each_keeps_its_share_within_one_and_as_many_in_all(fraction):
    source = np.random.default_rng(0)
    classes = source.choice(4, 101, p=[0.1, 0.2, 0.3, 0.4])
    score = source.normal(size=101) + 3 * classes  # alone it would fill the kept set with class 0
    kept = keep_lowest(score, fraction, classes)
    assert len(kept) == kept_count(fraction, 101) and len(set(kept)) == len(kept)
    for label in range(4):
        rows = np.flatnonzero(classes == label)
        chosen = np.intersect1d(kept, rows)
        assert abs(len(chosen) - fraction * len(rows)) <= 1
        assert set(chosen) == set(rows[np.argsort(score[rows])[: len(chosen)]])


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.1])
def test_a_fraction_outside_its_range_is_refused(fraction):
    with pytest.raises(ConfigurationError, match=r"not in \(0, 1\].*metric\.fractions"):
        keep_lowest([1.0], fraction)


def test_groups_are_equal_within_one_and_in_order():
    score = np.random.default_rng(1).permutation(11).astype(float)
    groups = quantile_groups(score, 4)
    assert sorted(map(len, groups)) == [2, 3, 3, 3]
    assert np.concatenate([score[rows] for rows in groups]).tolist() == sorted(score)
