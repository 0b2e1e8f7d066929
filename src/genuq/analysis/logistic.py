"""Logistic regression with an intercept for each class, by Newton's method.

Classes cost no more than one column, however many there are: their block of the Hessian is diagonal and is eliminated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from genuq.analysis.inputs import Array

STEPS, HALVINGS = 200, 40
DECREMENT = 1e-11  # of the penalised log likelihood that a further step could gain


@dataclass(frozen=True)
class LogisticFit:
    """log odds = offset + intercept of the class + columns . slopes.

    Attributes:
        offset: log odds of all samples together.
        intercepts_C: of each class, above the offset.
        slopes_F: of each column.
        log_likelihood: of the samples, without the penalty.
    """

    offset: float
    intercepts_C: Array
    slopes_F: Array
    log_likelihood: float

    def logits(self, columns_NF: Array, classes_N: Array) -> Array:
        """(N,) log odds of being bad."""
        return self.offset + self.intercepts_C[classes_N] + columns_NF @ self.slopes_F


def fit_logistic(columns_NF: Array, bad_N: Array, classes_N: Array, classes: int, ridge: float) -> LogisticFit:
    """Maximise the log likelihood less ridge / 2 times the squares of intercepts and slopes.

    Args:
        columns_NF: of one scale and centred, since the penalty is the same for all; F may be 0.
        bad_N: bool, some true and some false.
        classes_N: codes 0..classes-1; a class without samples keeps the intercept 0.
        classes: how many codes there are.
        ridge: > 0, so that a class without bad samples, or columns that separate, have finite coefficients.
    """
    fit = _Newton(columns_NF, bad_N.astype(np.float64), classes_N, classes, ridge)
    coefficients = np.zeros(classes + columns_NF.shape[1])
    value = fit.objective(coefficients)
    for _ in range(STEPS):
        step, decrement = fit.step(coefficients)
        if decrement < DECREMENT:
            break
        moved, value = fit.line_search(coefficients, step, value)
        if moved is coefficients:
            break  # up to rounding
        coefficients = moved
    log_likelihood = fit.log_likelihood(coefficients)
    return LogisticFit(fit.offset, coefficients[:classes], coefficients[classes:], log_likelihood)


class _Newton:
    """The penalised log likelihood of (intercepts, slopes) in one vector."""

    def __init__(self, columns_NF: Array, bad_N: Array, classes_N: Array, classes: int, ridge: float) -> None:
        self.columns_NF, self.bad_N, self.classes_N = columns_NF, bad_N, classes_N
        self.classes, self.ridge, self.offset = classes, ridge, float(logit(bad_N.mean()))

    def _logits(self, coefficients: Array) -> Array:
        return (
            self.offset + coefficients[: self.classes][self.classes_N] + self.columns_NF @ coefficients[self.classes :]
        )

    def log_likelihood(self, coefficients: Array) -> float:
        logits_N = self._logits(coefficients)
        return float((self.bad_N * logits_N - np.logaddexp(0, logits_N)).sum())

    def objective(self, coefficients: Array) -> float:
        return self.log_likelihood(coefficients) - self.ridge / 2 * float(coefficients @ coefficients)

    def _by_class(self, values_N: Array) -> Array:
        return np.bincount(self.classes_N, values_N, minlength=self.classes)

    def step(self, coefficients: Array) -> tuple[Array, float]:
        """Newton's step, and what it would gain were the objective quadratic, twice."""
        odds_N = expit(self._logits(coefficients))
        gradient = np.concatenate([self._by_class(self.bad_N - odds_N), (self.bad_N - odds_N) @ self.columns_NF])
        gradient -= self.ridge * coefficients
        weight_N = odds_N * (1 - odds_N)
        diagonal_C = self._by_class(weight_N) + self.ridge
        weighted_NF = weight_N[:, None] * self.columns_NF
        mixed_CF = np.array([self._by_class(column) for column in weighted_NF.T]).reshape(-1, self.classes).T
        square_FF = self.columns_NF.T @ weighted_NF + self.ridge * np.eye(len(weighted_NF.T))
        scaled_CF = mixed_CF / diagonal_C[:, None]
        of_classes, of_columns = gradient[: self.classes], gradient[self.classes :]
        slope_F = np.linalg.solve(square_FF - mixed_CF.T @ scaled_CF, of_columns - scaled_CF.T @ of_classes)
        step = np.concatenate([of_classes / diagonal_C - scaled_CF @ slope_F, slope_F])
        return step, float(gradient @ step)

    def line_search(self, coefficients: Array, step: Array, value: float) -> tuple[Array, float]:
        """The first of the step, its half, its quarter, ... that does not lower the objective."""
        for halving in range(HALVINGS):
            moved = coefficients + step / 2**halving
            if (reached := self.objective(moved)) >= value:
                return moved, reached
        return coefficients, value
