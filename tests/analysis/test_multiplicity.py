"""Adjusted p-values: Holm by hand and by its definition, Benjamini-Hochberg beside scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from genuq.analysis import benjamini_hochberg, holm
from genuq.errors import DataError, NonFiniteError

CASES = [np.random.default_rng(seed).beta(0.4, 1.0, size) for seed, size in enumerate((1, 2, 5, 40))]


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1.0, 1.0])
    assert len(holm([])) == len(benjamini_hochberg([])) == 0


@pytest.mark.parametrize("p", CASES)
@pytest.mark.parametrize("level", [0.01, 0.05, 0.2, 0.5])
def test_holm_rejects_what_stepping_down_rejects(p, level):
    rejected = set()
    for step, place in enumerate(np.argsort(p)):
        if p[place] > level / (len(p) - step):
            break
        rejected.add(place)
    assert set(np.flatnonzero(holm(p) <= level)) == rejected


@pytest.mark.parametrize("p", [*CASES, np.array([0.02, 0.02, 0.5, 0.0, 1.0])])
def test_benjamini_hochberg_is_that_of_scipy(p):
    np.testing.assert_allclose(benjamini_hochberg(p), false_discovery_control(p), rtol=1e-12)


@pytest.mark.parametrize("adjusted", [holm, benjamini_hochberg])
def test_what_is_no_p_value_is_refused(adjusted):
    with pytest.raises(DataError, match="lie in"):
        adjusted([0.5, 1.2])
    with pytest.raises(NonFiniteError, match="'p-values' is NaN for 1 of 2"):
        adjusted([0.5, np.nan])
