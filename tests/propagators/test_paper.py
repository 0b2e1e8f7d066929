"""`paper` reproduces what is wrong with the released semantics, in the exact case."""

from __future__ import annotations

import pytest
import torch

from genuq.errors import ConfigurationError
from genuq.models import Sampler
from genuq.propagators import Corrected, Paper, propagate
from genuq.propagators.paper import DROPPED, FAULTS, INDEPENDENT, NO_TOTAL, UNCENTRED
from genuq.propagators.propagator import PROBES
from genuq.randomness import generators, normal
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


def recursion(run, faults: set[str], states: int, skip: int) -> torch.Tensor:
    """The recursion with these faults, from the closed form of the Gaussian case, step by step."""
    sources = generators(0, range(24), PROBES)
    mean, variance, slope = run.start.double(), torch.zeros_like(run.start, dtype=torch.float64), None
    x = run.start.double()
    for number, (stage, noise) in enumerate(zip(run.stages, run.noises)):
        (a,), (b,), (gain, shift) = stage.x, stage.f, run.case.network.line(stage.t)
        f = gain * x + shift
        within = run.case.noise**2 * (f.square() + x.square() + 1)  # at the sampler's own state
        predicted = f
        if number % skip == 0 or (DROPPED not in faults and slope is None):
            variance = variance.clamp(min=0)
            drawn = normal(sources, (states, *mean.shape[1:])).transpose(0, 1).double()
            cloud = mean + variance.sqrt() * drawn
            answers = gain * cloud + shift
            predicted = answers.mean(0)
            covariance = (cloud * answers).mean(0) - mean * predicted
            if UNCENTRED not in faults:
                covariance = ((cloud * answers).mean(0) - cloud.mean(0) * predicted) * states / (states - 1)
            spread = answers.var(0)
            if number:
                slope = (covariance / variance).nan_to_num(0)  # where V is 0
        elif DROPPED in faults:
            covariance = spread = within = torch.zeros_like(mean)
        else:
            covariance, spread = slope * variance, slope**2 * variance
        total = within if NO_TOTAL in faults else within + spread
        variance = a**2 * variance + stage.noise**2 + 2 * a * b * covariance + b**2 * total
        mean = a * mean + b * predicted
        x = a * x + b * f + (0 if noise is None else stage.noise * noise.double())
    return variance


@pytest.mark.parametrize("faults", [(), *((fault,) for fault in (UNCENTRED, NO_TOTAL, DROPPED)), FAULTS], ids=str)
@pytest.mark.parametrize("name", ["ddim", "ddpm"])
def test_each_fault_alone_is_the_recursion_with_it(name, faults):
    run = gaussian_run(name, 7)
    for skip in (1, 3):
        expected = recursion(run, set(faults), states=4, skip=skip)
        found = variance(run, Paper(states=4, skip=skip, faults=faults))
        torch.testing.assert_close(found, expected, rtol=2e-3, atol=1e-3 * float(expected.abs().mean()))


def test_the_released_faults_are_those_kept_when_none_are_named():
    run = gaussian_run("ddim", 5)
    torch.testing.assert_close(
        variance(run, Paper()), variance(run, Paper(faults=(UNCENTRED, NO_TOTAL, DROPPED))), rtol=0, atol=0
    )
    assert not Paper().has(INDEPENDENT)


def test_without_faults_many_states_find_the_truth():
    run = gaussian_run("ddim", 10)
    expected = run.case.weights_independent(run.stages, run.start)
    found = variance(run, Paper(states=400, faults=()))
    assert float(found.sum() / expected.sum()) == pytest.approx(1, abs=0.02)
    assert rank_correlation(found, expected) > 0.95


def test_a_centred_moment_needs_two_states():
    with pytest.raises(ConfigurationError, match=r"propagator\.states"):
        Paper(states=1, faults=())
    with pytest.raises(ConfigurationError, match=r"propagator\.faults.*uncentred_covariance"):
        Paper(faults=("uncentered_covariance",))
