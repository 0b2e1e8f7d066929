"""`coherent`: the exact case with one weight draw a trajectory, and regenerations draw by draw on real networks."""

from __future__ import annotations

import pytest
import torch

from genuq.errors import ConfigurationError
from genuq.models import Sampler, sample_latents
from genuq.models.checkpoints import load_reference
from genuq.posteriors import Scale, swapped
from genuq.posteriors.network_noise import NetworkNoise
from genuq.propagators import Coherent, Corrected, propagate
from genuq.solvers import DDPM, DPMSolverPlusPlus2M, Euler, Heun
from support.toy_runs import CASES, NETWORKS, fitted, gaussian_run, random_model, rank_correlation, sums


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("steps", [20, 50])
def test_every_direction_is_the_closed_form(name, steps):
    run = gaussian_run(name, steps)
    found = propagate(run.case.model, run.case.posterior, run.sampler, range(24), Coherent(None))
    expected = run.case.weights_shared(run.stages, run.start, run.noises)
    assert 0.97 < float(found.variance.sum() / expected.sum()) < 1.03
    assert rank_correlation(sums(found.variance), sums(expected)) > 0.99
    assert found.variance.min() >= 0


def test_does_not_depend_on_the_number_of_steps():
    """The same data, noise and weights at 20 and 100 steps; with fresh weights at each step V shrinks."""
    totals, fresh = [], []
    for steps in (20, 100):
        run = gaussian_run("ddim", steps)
        found = propagate(run.case.model, run.case.posterior, run.sampler, range(24), Coherent(None))
        expected = run.case.weights_shared(run.stages, run.start, run.noises)
        assert 0.97 < float(found.variance.sum() / expected.sum()) < 1.03
        totals.append(float(found.variance.sum()))
        fresh.append(
            float(propagate(run.case.model, run.case.posterior, run.sampler, range(24), Corrected()).variance.sum())
        )
    assert max(totals) < 1.15 * min(totals)  # the solver's own error at 20 steps
    assert fresh[0] > 2.5 * fresh[1]


@pytest.mark.parametrize("derivative", ["difference", "forward"])
@pytest.mark.parametrize("solver", [Euler(), Heun(), DDPM(), DPMSolverPlusPlus2M()])
@pytest.mark.parametrize("network", NETWORKS)
def test_is_the_variance_of_the_regenerations(network, solver, derivative):
    """Small draws, so that the first order is all: the same draws, with guidance."""
    model = random_model(network)
    posterior, sampler = fitted(model, noise=1e-4), Sampler(solver, steps=4, guidance_scale=1.5)
    found = propagate(model, posterior, sampler, range(3), Coherent(4, derivative), seed=5)
    expected = regenerated(model, model.head, posterior, sampler, found.latents)
    torch.testing.assert_close(found.variance, expected, rtol=0.05, atol=0.02 * float(expected.mean()))
    assert torch.equal(found.mean, found.latents.double())


@pytest.mark.parametrize("derivative", ["difference", "forward"])
@pytest.mark.parametrize("name", ["dit", "reference"])
def test_takes_draws_of_the_whole_network(name, derivative):
    """About the draws' mean, since the mean of a posterior without curvature need not be the trained weights."""
    model = load_reference("flow_matching") if name == "reference" else random_model(name)
    posterior = NetworkNoise(model.network).finalise(Scale(1, 1.0, prior_precision=1e9))
    sampler = Sampler(Heun(), steps=2, guidance_scale=1.5)
    found = propagate(model, posterior, sampler, range(3), Coherent(3, derivative), seed=5)
    drawn = regenerated(model, model.network, posterior, sampler, found.latents, 3, around_trained=False)
    torch.testing.assert_close(found.variance, drawn, rtol=0.1, atol=0.05 * float(drawn.mean()))
    assert float(found.variance.sum() / drawn.sum()) == pytest.approx(1, abs=0.03)


def regenerated(model, module, posterior, sampler, latents, draws=4, around_trained=True) -> torch.Tensor:
    """Mean squared change of the latents over draws, about the unperturbed ones or about the draws' mean."""
    changes = []
    for m in range(draws):
        with swapped(module, posterior.draw(m, 5)):
            changes.append((sample_latents(model, sampler, range(3)) - latents).double())
    stacked = torch.stack(changes)
    return stacked.square().mean(0) if around_trained else stacked.var(0)


def test_costs_one_evaluation_a_draw_and_stage_but_the_first():
    model = random_model()
    found = propagate(model, fitted(model), Sampler(steps=5, guidance_scale=2.0), range(4), Coherent(3))
    assert found.plain_evaluations == 10
    assert found.evaluations == pytest.approx(10 + 2 * 3 * 4 + 3 / 4)


def test_refusals():
    model = random_model()
    posterior = NetworkNoise(model.network).finalise(Scale(1, 1.0, 1e6))
    with pytest.raises(ConfigurationError, match="needs a last-layer posterior, not 'isotropic_network'"):
        propagate(model, posterior, Sampler(), range(2), Coherent(None))
    with pytest.raises(ConfigurationError, match="weights of another model"):
        propagate(random_model(), posterior, Sampler(), range(2), Coherent(2))
    with pytest.raises(ConfigurationError, match=r"propagator.draws = 1; at least 2"):
        Coherent(1)
