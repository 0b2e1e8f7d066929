"""`paper` reproduces what is wrong with the released semantics, in the exact case."""

from __future__ import annotations

import pytest
import torch

from genuq.errors import ConfigurationError
from genuq.models import Sampler
from genuq.propagators import Corrected, Paper, propagate
from genuq.solvers import DPMSolver2, DPMSolverPlusPlus2M, Heun
from support.toy_runs import fitted, gaussian_run, random_model, rank_correlation


def variance(run, how) -> torch.Tensor:
    return propagate(run.case.model, run.case.posterior, run.sampler, range(24), how).variance


def test_the_uncentred_covariance_drowns_the_signal():
    run = gaussian_run("ddim", 50)
    expected, found = run.case.weights_independent(run.stages, run.start), variance(run, Paper())
    assert rank_correlation(found, expected) < 0.4
    assert (found < 0).double().mean() > 0.05
    centred = variance(run, Corrected("monte_carlo", 10, "independent"))
    assert rank_correlation(centred, expected) > 0.9


def test_skipped_steps_inflate_v():
    run = gaussian_run("ddim", 50)
    assert float(variance(run, Paper(skip=5)).sum() / variance(run, Paper()).sum()) > 20


def test_a_skipped_step_is_a_squared_v():
    """Only the first step is estimated: from then on V is multiplied by A^2, whatever the network says."""
    run = gaussian_run("ddim", 6)
    once = variance(run, Paper(skip=100))
    growth = torch.tensor([stage.x[0] for stage in run.stages[1:]], dtype=torch.float64).prod().square()
    x, (slope, intercept) = run.start.double(), run.case.network.line(run.stages[0].t)
    f = slope * x + intercept
    first = (run.stages[0].f[0] * run.case.noise) ** 2 * (f.square() + x.square() + 1)
    torch.testing.assert_close(once, growth * first, rtol=1e-4, atol=0)


@pytest.mark.parametrize("solver", [Heun(), DPMSolverPlusPlus2M()])
def test_solvers_that_combine_more_are_refused(solver):
    model = random_model()
    with pytest.raises(ConfigurationError, match=r"'paper' knows one state and one prediction.*propagator=corrected"):
        propagate(model, fitted(model), Sampler(solver, steps=3), range(2), Paper())


def test_dpm_solver_2_needs_epsilon():
    """With epsilon a step is A x_start + B f(middle), the paper's formula; with flow the middle state enters too."""
    model = random_model(process="variance_preserving", prediction="epsilon")
    sampler = Sampler(DPMSolver2(), steps=3)
    found = propagate(model, fitted(model), sampler, range(2), Paper(states=4))
    assert found.evaluations == pytest.approx(found.plain_evaluations * 5 + 3 / 2)
    other = random_model()
    with pytest.raises(ConfigurationError, match="one state and one prediction"):
        propagate(other, fitted(other), sampler, range(2), Paper())
