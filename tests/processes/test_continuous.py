"""The variance-preserving path in continuous time beside the integral of its betas and a table near it."""

from __future__ import annotations

import math

import torch

from genuq.processes import ContinuousVP, VariancePreserving

PATH = ContinuousVP()
T = torch.linspace(0.001, 1, 41, dtype=torch.float64)


def test_alpha_is_the_integral_of_beta() -> None:
    fine = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    beta = 0.1 + fine * 19.9
    integral = torch.cat([torch.zeros(1, dtype=torch.float64), torch.cumulative_trapezoid(beta, fine)])
    torch.testing.assert_close(PATH.alpha(fine), (-0.5 * integral).exp())
    torch.testing.assert_close(PATH.alpha(T).square() + PATH.sigma(T).square(), torch.ones_like(T))
    assert float(PATH.sigma(0.0)) == 0.0 and float(PATH.alpha(0.0)) == 1.0


def test_derivatives_are_autograds() -> None:
    t = T.clone().requires_grad_()
    for place, values in enumerate((PATH.alpha(t), PATH.sigma(t))):
        (slope,) = torch.autograd.grad(values.sum(), t)
        torch.testing.assert_close(PATH.derivatives(T)[place], slope)


def test_times_are_found_again() -> None:
    torch.testing.assert_close(PATH.time_at(PATH.half_log_snr(T)), T)
    torch.testing.assert_close(PATH.time_of(PATH.network_time(T)), T, rtol=1e-6, atol=1e-7)
    assert float(PATH.time_at(math.inf)) == 0.0 and float(PATH.time_at(-math.inf)) > 1 - 1e-12
    assert float(PATH.network_time(torch.tensor(1.0))) == 999.0


def test_a_table_of_a_thousand_betas_is_near_it() -> None:
    torch.testing.assert_close(VariancePreserving("linear").alpha(T), PATH.alpha(T), rtol=0, atol=2e-3)
