"""`corrected` against the closed form with weight noise independent from step to step."""

from __future__ import annotations

import pytest
import torch

from genuq.bench.gaussian import random_rotation
from genuq.errors import ConfigurationError
from genuq.models import Sampler
from genuq.propagators import Corrected, propagate
from genuq.propagators.corrected import standardised
from genuq.solvers import DPMSolverPlusPlus2M
from support.toy_runs import CASES, STOCHASTIC, fitted, gaussian_run, random_model, rank_correlation, sums

ESTIMATORS = [("jvp", 1), ("antithetic", 1), ("monte_carlo", 5)]


def accepted(found: torch.Tensor, expected: torch.Tensor) -> None:
    """The acceptance of the Gaussian case."""
    assert 0.97 < float(found.sum() / expected.sum()) < 1.03
    assert rank_correlation(sums(found), sums(expected)) > 0.99
    assert found.min() >= 0


@pytest.mark.parametrize("states", ["carried", "independent"])
@pytest.mark.parametrize("covariance,probes", ESTIMATORS)
@pytest.mark.parametrize("name", CASES)
def test_is_the_closed_form_under_every_solver(name, covariance, probes, states):
    run = gaussian_run(name)
    how = Corrected(covariance, probes, states, ancestral="given")
    found = propagate(run.case.model, run.case.posterior, run.sampler, range(24), how)
    expected = run.case.weights_independent(run.stages, run.start, run.noises)
    accepted(found.variance, expected)
    torch.testing.assert_close(found.variance, expected, rtol=0.02, atol=1e-9)
    torch.testing.assert_close(found.mean, run.latents.double(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("steps", [20, 100])
@pytest.mark.parametrize("name", ["euler", "ddim"])
def test_at_any_number_of_steps(name, steps):
    run = gaussian_run(name, steps)
    found = propagate(run.case.model, run.case.posterior, run.sampler, range(24), Corrected())
    accepted(found.variance, run.case.weights_independent(run.stages, run.start))


@pytest.mark.parametrize("covariance,probes", ESTIMATORS)
@pytest.mark.parametrize("name", STOCHASTIC)
def test_integrated_ancestral_noise_is_in_v_and_not_in_e(name, covariance, probes):
    run = gaussian_run(name)
    found = propagate(run.case.model, run.case.posterior, run.sampler, range(24), Corrected(covariance, probes))
    torch.testing.assert_close(found.variance, run.case.weights_independent(run.stages, run.start), rtol=1e-2, atol=0)
    quiet = run.case.sampled(run.stages, run.start.double(), [torch.zeros(1)] * len(run.stages), torch.zeros(3))
    torch.testing.assert_close(found.mean, quiet, rtol=5e-3, atol=5e-3)


def test_one_and_many_samples_at_a_time_agree():
    model = random_model()
    posterior = fitted(model)

    def variance(batch_size: int, how: Corrected) -> torch.Tensor:
        sampler = Sampler(DPMSolverPlusPlus2M(), steps=4, guidance_scale=1.5, batch_size=batch_size)
        return propagate(model, posterior, sampler, range(6), how).variance

    for how in (Corrected(probes=2, derivative="forward"), Corrected("monte_carlo", 3, "independent", skip=2)):
        torch.testing.assert_close(variance(6, how), variance(2, how), rtol=2e-3, atol=0)


@pytest.mark.parametrize("centred", [True, False])
def test_standardised_ensembles(centred):
    ensemble = torch.randn(4, 3, 2, 2, dtype=torch.float64) + 1
    found = standardised(ensemble, centred)
    count = 3 if centred else 4
    torch.testing.assert_close(found.square().sum(0) / count, torch.ones(3, 2, 2, dtype=torch.float64))
    if centred:
        assert found.sum(0).abs().max() < 1e-12


@pytest.mark.parametrize(
    "options,match",
    [
        ({"covariance": "montecarlo"}, "propagator.covariance = 'montecarlo'; choose jvp, antithetic or monte_carlo"),
        ({"covariance": "monte_carlo", "probes": 1}, "propagator.probes = 1; at least 2"),
        ({"skip": 0}, "propagator.skip = 0; at least 1"),
        ({"states": "joint"}, "propagator.states = 'joint'"),
        ({"derivative": "backward"}, "propagator.derivative = 'backward'"),
        ({"ancestral": "none"}, "propagator.ancestral = 'none'"),
    ],
)
def test_unknown_options_are_refused(options, match):
    with pytest.raises(ConfigurationError, match=match):
        Corrected(**options)


@pytest.mark.parametrize("name", ["euler", "ddim"])
def test_carried_ensembles_find_the_full_covariance(name):
    run = gaussian_run(name, 10, rotation=random_rotation())
    expected = run.case.weights_independent_of_dependent_pixels(run.stages, run.start)
    carried, independent = (
        propagate(
            run.case.model, run.case.posterior, run.sampler, range(24), Corrected(probes=96, states=states)
        ).variance
        for states in ("carried", "independent")
    )
    assert 0.97 < float(carried.sum() / expected.sum()) < 1.03
    assert rank_correlation(sums(carried), sums(expected)) > 0.95
    assert rank_correlation(carried, expected) > 0.9
    assert abs(float(independent.sum() / expected.sum()) - 1) > 0.05, "the case tells the two apart"


@pytest.mark.parametrize("name", ["euler", "ddim", "heun", "dpm_solver_pp_2m"])
@pytest.mark.parametrize("skip", [3, 10])
def test_skipped_estimates_cost_nothing_in_the_exact_case(name, skip):
    """The data's variance that the last slope implies is the true one, so skipping changes nothing."""
    run = gaussian_run(name)
    found = propagate(run.case.model, run.case.posterior, run.sampler, range(24), Corrected(skip=skip))
    expected = run.case.weights_independent(run.stages, run.start)
    assert 0.97 < float(found.variance.sum() / expected.sum()) < 1.03
    assert rank_correlation(sums(found.variance), sums(expected)) > 0.99
    assert found.evaluations < found.plain_evaluations * (1.1 + 1 / skip)
