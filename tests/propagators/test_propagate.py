"""Propagation only observes: the images, the cuts, the head's variance at each pixel, refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from genuq.errors import ConfigurationError
from genuq.models import GenerativeModel, Sampler, sample, sample_latents
from genuq.posteriors import IsotropicNoise, Scale, ScaleOptions, fit, swapped
from genuq.propagators import PROPAGATORS as PROPAGATORS_BY_NAME
from genuq.propagators import Coherent, Corrected, Paper, Trajectory, build, grid_times, propagate
from genuq.solvers import DDPM, DDPMLearned, DPMSolver2, DPMSolverPlusPlus2M, Euler, Heun
from support.toy_runs import NETWORKS, fitted, random_model

PROPAGATORS = [Trajectory(), Coherent(2), Corrected(), Corrected("monte_carlo", 2), Corrected(derivative="forward")]


@pytest.mark.parametrize("propagator", PROPAGATORS, ids=lambda how: how.name)
@pytest.mark.parametrize("solver", [Euler(), Heun(), DDPM(), DPMSolver2(), DPMSolverPlusPlus2M()])
@pytest.mark.parametrize("network", NETWORKS)
def test_the_image_is_bit_for_bit_the_same(network, solver, propagator):
    model = random_model(network)
    sampler = Sampler(solver, steps=3, guidance_scale=1.5, batch_size=3)
    found = propagate(model, fitted(model), sampler, range(5), propagator)
    assert torch.equal(found.images, sample(model, sampler, range(5)))
    assert found.variance.shape == found.mean.shape == found.latents.shape == (5, 1, 8, 8)
    assert found.variance.dtype == found.mean.dtype == torch.float64
    assert found.variance.min() > 0


@pytest.mark.parametrize("solver", [Euler(), DDPM()])
def test_also_under_the_papers_semantics(solver):
    model = random_model()
    sampler = Sampler(solver, steps=3, guidance_scale=1.5, batch_size=3)
    found = propagate(model, fitted(model), sampler, range(5), Paper(4))
    assert torch.equal(found.images, sample(model, sampler, range(5)))


@pytest.mark.parametrize("name", PROPAGATORS_BY_NAME)
def test_by_name(name):
    assert build(name) == PROPAGATORS_BY_NAME[name].make()
    with pytest.raises(ConfigurationError, match=f"propagator '{name}' has no option"):
        build(name, number=3)


def test_an_unknown_name_is_refused():
    with pytest.raises(ConfigurationError, match="Did you mean 'corrected'"):
        build("correct")


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("network", NETWORKS)
def test_one_step_is_the_variance_over_weight_draws(network, guidance):
    """After one step x_0 is linear in the head's weights: each pixel's variance against regenerations."""
    model = random_model(network)
    posterior, sampler = fitted(model), Sampler(steps=1, guidance_scale=guidance)
    versions = []
    for draw in range(200):
        with swapped(model.head, posterior.draw(draw)):
            versions.append(sample_latents(model, sampler, range(4)))
    drawn = torch.stack(versions).double().var(0)
    for propagator in (Trajectory(None), Corrected()):
        found = propagate(model, posterior, sampler, range(4), propagator).variance
        relative = drawn / found
        assert float(drawn.sum() / found.sum()) == pytest.approx(1, abs=0.05)
        assert relative.std() < 0.14  # 0.1 of 200 draws
        assert relative.min() > 0.55 and relative.max() < 1.5


def test_kfac_of_the_head_alone_propagates_as_well():
    """It lies over the network, by the head's name in it; one step against regenerations."""
    model = random_model("dit")
    images = 2 * torch.rand((96, 1, 8, 8), generator=torch.Generator().manual_seed(0)) - 1
    scale = ScaleOptions(observation_noise=1e-4, prior_precision=1e4, temperature=1.0)
    labels = torch.arange(96) % 3
    posterior = fit(model, images, "kfac", labels=labels, images=64, held_out=32, layers="head", scale=scale).posterior
    sampler, versions = Sampler(steps=1), []
    for draw in range(400):
        with swapped(model.network, posterior.draw(draw)):
            versions.append(sample_latents(model, sampler, range(4)))
    drawn = torch.stack(versions).double().var(0)
    for propagator in (Trajectory(None), Corrected(), Coherent(400)):
        found = propagate(model, posterior, sampler, range(4), propagator).variance
        assert float(drawn.sum() / found.sum()) == pytest.approx(1, abs=0.05), propagator
        assert (drawn / found).std() < 0.15
    assert found.shape == drawn.shape


class TestCuts:
    def test_hold_the_moments_of_the_state_there(self):
        """The cut at the end is the result, the one at the start is certain, one between is a shorter run's end."""
        model = random_model()
        posterior, sampler = fitted(model), Sampler(steps=5, batch_size=2)
        times = grid_times(model, sampler)
        found = propagate(model, posterior, sampler, range(4), Corrected(), cuts=times)
        mean, variance = found.at(0.0)
        assert torch.equal(variance, found.variance)
        assert torch.equal(mean, found.mean)
        mean, variance = found.at(1.0)
        assert not variance.any()
        assert torch.equal(mean, sampler.initial_noise(model, range(4)).double())
        totals = [float(found.at(t)[1].sum()) for t in times]
        assert all(later > 0 for later in totals[1:])

    def test_auxiliary_points_are_no_cuts(self):
        model = random_model()
        sampler = Sampler(DPMSolver2(), steps=3)
        assert len(grid_times(model, sampler)) == 4

    @pytest.mark.parametrize("t", [0.81, 1.5, -0.2])
    def test_elsewhere_are_refused_with_the_nearest(self, t):
        model = random_model()
        with pytest.raises(ConfigurationError, match=rf"the cut t = {t:g} is no time of the grid.*nearest one is"):
            propagate(model, fitted(model), Sampler(steps=5), range(2), cuts=[t])

    def test_that_were_not_asked_for(self):
        model = random_model()
        found = propagate(model, fitted(model), Sampler(steps=5), range(2), cuts=[0.8])
        assert found.at(0.8)[0].shape == (2, 1, 8, 8)
        with pytest.raises(ConfigurationError, match=r"at t = 0.4 was not kept \(kept: 0.8\)"):
            found.at(0.4)


class TestRefusals:
    def test_a_posterior_without_a_scale(self):
        model = random_model()
        with pytest.raises(ConfigurationError, match=r"no scale yet"):
            propagate(model, IsotropicNoise(model.head), Sampler(), range(2))

    def test_a_posterior_of_another_model(self):
        model, other = random_model(), random_model()
        with pytest.raises(ConfigurationError, match=r"about another layer than model.head = 'head'"):
            propagate(model, fitted(other), Sampler(), range(2))

    def test_a_posterior_without_a_closed_form(self):
        model = random_model()
        posterior = fitted(model)
        posterior.closed_form = False
        with pytest.raises(
            ConfigurationError, match=r"'corrected' needs the closed-form variance.*propagator=coherent"
        ):
            propagate(model, posterior, Sampler(), range(2), Corrected())

    def test_no_samples(self):
        model = random_model()
        with pytest.raises(ConfigurationError, match=r"No samples are asked for"):
            propagate(model, fitted(model), Sampler(), [])

    def test_a_head_that_runs_twice(self):
        class Twice(nn.Module):
            def __init__(self):
                super().__init__()
                self.head = nn.Conv2d(1, 1, 1)

            def forward(self, x, t, y=None):
                return self.head(self.head(x))

        model = GenerativeModel(Twice(), (1, 4, 4))
        posterior = IsotropicNoise(model.head)
        posterior.update(torch.zeros(1, 1, 4, 4))
        posterior.finalise(Scale(1, 1.0, 1.0))
        with pytest.raises(ConfigurationError, match=r"runs more than once"):
            propagate(model, posterior, Sampler(steps=2), range(2))


@pytest.mark.parametrize("propagator", [*PROPAGATORS, Paper(2)], ids=lambda how: how.name)
def test_a_sampler_that_clips_is_refused_by_name(propagator):
    """A clipped step is not affine in the prediction: the variance would be that of another sampler."""
    model = random_model()
    with pytest.raises(ConfigurationError, match=rf"propagator '{propagator.name}'.*sampler\.clip_x0 = true"):
        propagate(model, fitted(model), Sampler(steps=2, clip_x0=True), range(2), propagator)


class Fixed(DDPMLearned):
    """The same steps with the noise that a network which always says `said` asks for."""

    learned_variance = False

    def __init__(self, said: float) -> None:
        self.said = torch.tensor(said, dtype=torch.float64)

    def stages(self, *given):
        made = super().stages(*given)
        return [
            each
            if each.noise_high is None
            else replace(each, noise=float(each.learned_noise(self.said)), noise_high=None)
            for each in made
        ]


class Saying(nn.Module):
    """A network with a last channel that is constant."""

    def __init__(self, said: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head, self.said = nn.Conv2d(1, 1, 3, padding=1), said

    def forward(self, x, t, y):
        answer = self.head(x)
        return torch.cat([answer, torch.full_like(answer, self.said)], dim=1)


@pytest.mark.parametrize("propagator", [Corrected(), Corrected("monte_carlo", 2), Paper(4), Coherent(2), Trajectory()])
def test_noise_that_the_network_says_counts_as_much_as_it_is(propagator):
    model = GenerativeModel(
        Saying(0.4), (1, 6, 6), "variance_preserving", "v_prediction", head="head", learns_variance=True
    )
    posterior = IsotropicNoise(model.head).finalise(Scale(1.0, 1.0, 1e4))
    learned, fixed, less = (
        propagate(model, posterior, Sampler(solver, steps=4), range(2), propagator)
        for solver in (DDPMLearned(), Fixed(0.4), Fixed(-1.0))
    )
    torch.testing.assert_close(learned.latents, fixed.latents, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(learned.variance, fixed.variance, rtol=1e-2, atol=1e-9)
    if isinstance(propagator, (Corrected, Paper)):  # those that count C^2
        assert float(less.variance.mean()) < 0.9 * float(learned.variance.mean())
