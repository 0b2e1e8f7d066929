"""Agreement of judges beside scikit-learn's kappa."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from genuq.analysis import Undefined, judges_agree
from genuq.errors import ConfigurationError, DataError

SOURCE = np.random.default_rng(0)
BAD = SOURCE.random(300) < 0.2
VERDICTS = {
    name: np.where(SOURCE.random(300) < error, ~BAD, BAD) for name, error in (("a", 0.05), ("b", 0.1), ("c", 0.5))
}


def test_every_pair_has_its_share_and_kappa():
    found = judges_agree(VERDICTS, bootstrap=300)
    assert [pair.names for pair in found.pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    for pair in found.pairs:
        left, right = (VERDICTS[name] for name in pair.names)
        assert pair.share.value == (left == right).mean()
        assert pair.kappa.value == pytest.approx(cohen_kappa_score(left, right), abs=1e-12)
        assert pair.kappa.low < pair.kappa.value < pair.kappa.high
    assert found.pairs[0].kappa.low > 0.4 > found.pairs[1].kappa.high


def test_bad_is_what_all_call_bad():
    found = judges_agree(VERDICTS, bootstrap=2)
    a, b, c = VERDICTS.values()
    assert np.array_equal(found.bad_N, a & b & c)
    assert np.array_equal(found.agreed_N, (a == b) & (b == c))


def test_judges_that_call_nothing_bad_have_no_kappa():
    found = judges_agree({"a": np.zeros(20), "b": np.zeros(20)}, bootstrap=5)
    assert found.pairs[0].kappa == Undefined("both judges say the same of every sample")
    assert found.pairs[0].share.value == 1.0 and found.agreed_N.all() and not found.bad_N.any()


def test_one_judge_and_other_samples_are_refused():
    with pytest.raises(ConfigurationError, match="1 judges cannot agree"):
        judges_agree({"a": BAD})
    with pytest.raises(DataError, match="verdict of 'b'"):
        judges_agree({"a": BAD, "b": BAD[:-1]})
    with pytest.raises(DataError, match="no sample"):
        judges_agree({"a": [], "b": []})
