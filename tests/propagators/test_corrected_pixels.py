"""`corrected` where pixels depend on one another: carried ensembles keep it, BayesDiff's independent pixels lose it."""

from __future__ import annotations

import pytest
import torch

from genuq.bench.gaussian import random_rotation
from genuq.propagators import Corrected, propagate
from genuq.propagators.moments import Moments
from genuq.propagators.slope import HeldSlope
from genuq.solvers import Heun
from support.toy_runs import gaussian_run, random_model, rank_correlation, sums


@pytest.mark.parametrize("name", ["euler", "ddim"])
def test_carried_ensembles_find_the_full_covariance(name):
    run = gaussian_run(name, 20, rotation=random_rotation())
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


def test_a_held_slope_of_gaussian_data_is_right_at_every_time():
    model = random_model(process="variance_preserving", prediction="epsilon")
    variance = torch.tensor([0.01, 0.3, 2.0], dtype=torch.float64)

    def exact(t: float) -> torch.Tensor:
        """Cov(eps, x_t) / Var(x_t)."""
        alpha, sigma = model.process.alpha(t), model.process.sigma(t)
        return sigma / (alpha.square() * variance + sigma.square())

    held = HeldSlope(model.process, "epsilon", 0.7, exact(0.7), torch.ones(1, 3, dtype=torch.float64))
    for t in (0.7, 0.5, 0.1):
        slope, others = held.at(t)
        torch.testing.assert_close(slope, exact(t), rtol=1e-6, atol=0)
        ratio = (model.process.sigma(0.7) / model.process.alpha(0.7)) / (
            model.process.sigma(t) / model.process.alpha(t)
        )
        torch.testing.assert_close(others, ratio * torch.ones(1, 3, dtype=torch.float64))


def test_moments_are_those_of_the_linear_combinations():
    """Heun's two stages by hand: every quantity as a combination of three independent sources."""
    to_end, correct = Heun().stages(random_model().process, "flow", [0.8, 0.6])
    moments = Moments(torch.Size([1, 1]), 2, torch.device("cpu"))
    moments.matrix += 4.0
    slopes, rests = (0.7, -0.4), (0.5, 0.3)
    x = torch.tensor([2.0, 0, 0], dtype=torch.float64)
    f = slopes[0] * x + torch.tensor([0, rests[0] ** 0.5, 0], dtype=torch.float64)
    y = to_end.x[0] * x + to_end.f[0] * f
    g = slopes[1] * y + torch.tensor([0, 0, rests[1] ** 0.5], dtype=torch.float64)
    z = correct.x[0] * y + correct.x[1] * x + correct.f[0] * g + correct.f[1] * f
    for stage, slope, rest, expected in zip((to_end, correct), slopes, rests, (y, z)):
        moments.evaluate(torch.full((1, 1), slope, dtype=torch.float64), torch.full((1, 1), rest, dtype=torch.float64))
        moments.step(stage, noise=0.0)
        assert float(moments.variance) == pytest.approx(float(expected @ expected), rel=1e-12)
    before = float(moments.variance)
    moments.step(to_end.__class__(0.6, 0.5, (1.0,), (0.0,)), noise=0.5)
    assert float(moments.variance) == pytest.approx(before + 0.25)
