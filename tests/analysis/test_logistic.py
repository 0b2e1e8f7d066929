"""Logistic regression beside a general optimiser and scikit-learn, and where classes separate."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from genuq.analysis.logistic import LogisticFit, fit_logistic

CLASSES = 4


def simulated(seed: int = 0, count: int = 200, slopes: tuple[float, ...] = (1.0, -0.5)):
    source = np.random.default_rng(seed)
    columns = source.normal(size=(count, len(slopes)))
    classes = source.integers(0, CLASSES, count)
    odds = expit(columns @ np.array(slopes) + np.array([-1.5, -0.5, 0.0, -2.0])[classes])
    return columns, source.random(count) < odds, classes


def optimised(columns, bad, classes, ridge, offset):
    """The same optimum from BFGS over a one-hot design."""
    design = np.concatenate([np.eye(CLASSES)[classes], columns], axis=1)

    def loss(coefficients):
        logits = offset + design @ coefficients
        return np.logaddexp(0, logits).sum() - logits[bad].sum() + ridge / 2 * coefficients @ coefficients

    def slope(coefficients):
        return design.T @ (expit(offset + design @ coefficients) - bad) + ridge * coefficients

    start = np.zeros(design.shape[1])
    return minimize(loss, start, jac=slope, method="BFGS", options={"gtol": 1e-9}).x


@pytest.mark.parametrize("ridge", [1.0, 1e-6])
@pytest.mark.parametrize("slopes", [(), (1.0, -0.5)])
def test_the_optimum_is_that_of_a_general_optimiser(ridge, slopes):
    columns, bad, classes = simulated(slopes=slopes)
    fit = fit_logistic(columns, bad, classes, CLASSES, ridge)
    wanted = optimised(columns, bad, classes, ridge, fit.offset)
    np.testing.assert_allclose(np.concatenate([fit.intercepts_C, fit.slopes_F]), wanted, atol=1e-5)
    odds = expit(fit.logits(columns, classes))
    assert fit.log_likelihood == pytest.approx(np.log(np.where(bad, odds, 1 - odds)).sum(), rel=1e-10)


def test_with_a_vanishing_penalty_it_is_plain_maximum_likelihood():
    columns, bad, classes = simulated(1)
    design = np.concatenate([np.eye(CLASSES)[classes][:, 1:], columns], axis=1)
    oracle = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(design, bad)
    fit = fit_logistic(columns, bad, classes, CLASSES, 1e-7)
    np.testing.assert_allclose(fit.logits(columns, classes), oracle.decision_function(design), atol=2e-4)


def test_a_class_without_bad_samples_is_trusted_and_the_others_are_as_if_it_were_not_there():
    columns, bad, classes = simulated(2)
    bad &= classes != 3
    fit = fit_logistic(columns, bad, classes, CLASSES, 1e-6)
    assert fit.offset + fit.intercepts_C[3] < -10 and np.isfinite(fit.log_likelihood)
    rest = classes != 3
    alone = fit_logistic(columns[rest], bad[rest], classes[rest], CLASSES, 1e-6)
    assert fit.log_likelihood == pytest.approx(alone.log_likelihood, abs=1e-3)
    np.testing.assert_allclose(fit.slopes_F, alone.slopes_F, atol=1e-3)
    assert alone.intercepts_C[3] == 0.0


def test_columns_that_separate_and_columns_twice_have_finite_coefficients():
    columns, _, classes = simulated(3)
    bad = columns[:, 0] > 0.3
    columns[bad, 0] += 1.0  # a gap, so that a finite slope separates
    fit = fit_logistic(columns, bad, classes, CLASSES, 1e-6)
    assert np.isfinite(fit.slopes_F).all() and fit.log_likelihood == pytest.approx(0, abs=0.01)
    columns, bad, classes = simulated(4)
    once, twice = (fit_logistic(x, bad, classes, CLASSES, 1e-6) for x in (columns, np.concatenate([columns] * 2, 1)))
    assert twice.log_likelihood == pytest.approx(once.log_likelihood, abs=1e-6)


def test_log_odds_are_offset_intercept_and_slopes():
    fit = LogisticFit(-1.0, np.array([0.5, 0.0]), np.array([2.0]), 0.0)
    np.testing.assert_allclose(fit.logits(np.array([[1.0], [3.0]]), np.array([0, 1])), [1.5, 5.0])
