"""`trajectory` against the closed form with one weight draw for the whole trajectory."""

from __future__ import annotations

import pytest
import torch

from genuq.errors import ConfigurationError
from genuq.propagators import Trajectory, propagate
from support.toy_runs import CASES, gaussian_run, rank_correlation, sums


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("steps", [8, 30])
def test_is_exact_for_data_of_one_variance(name, steps):
    """Whatever the solver, the prediction type and the number of steps."""
    run = gaussian_run(name, steps, deviation=0.7)
    found = propagate(run.case.model, run.case.posterior, run.sampler, range(24), Trajectory(0.7**2))
    expected = run.case.weights_shared(run.stages, run.start, run.noises)
    assert 0.97 < float(found.variance.sum() / expected.sum()) < 1.03
    assert rank_correlation(sums(found.variance), sums(expected)) > 0.99
    torch.testing.assert_close(found.variance, expected, rtol=0.05, atol=1e-4)


@pytest.mark.parametrize("name", ["euler", "dpm_solver_pp_2m"])
def test_costs_no_evaluation_of_the_batch(name):
    """Three of a single sample tell where the head's outputs stand in the prediction."""
    run = gaussian_run(name)
    found = propagate(run.case.model, run.case.posterior, run.sampler, range(24), Trajectory())
    assert found.evaluations == pytest.approx(found.plain_evaluations + 3 / 24)


def test_fixed_states_are_the_solvers_coefficients_alone():
    """data_variance None on the straight path with Euler: x_0 = x_T + sum of steps times f, nothing else moves."""
    run = gaussian_run("euler", 4)
    found = propagate(run.case.model, run.case.posterior, run.sampler, range(24), Trajectory(None))
    x, response = run.start.double(), torch.zeros(2, *run.start.shape, dtype=torch.float64)
    for stage in run.stages:
        slope, intercept = run.case.network.line(stage.t)
        f = slope * x + intercept
        response = response + stage.f[0] * torch.stack([f, x])
        x = stage.x[0] * x + stage.f[0] * f
    expected = 0.01**2 * (response.square().sum(0) + 1)  # the bias's steps add up to -1
    torch.testing.assert_close(found.variance, expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("value", [0.0, -1.0, float("inf")])
def test_impossible_variances_of_the_data_are_refused(value):
    with pytest.raises(ConfigurationError, match=r"propagator.data_variance"):
        Trajectory(value)
