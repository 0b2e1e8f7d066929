"""Weight noise that knows no data: its variances in closed form, and the size that it takes from another posterior."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from genuq.errors import ConfigurationError
from genuq.posteriors import MAP, DiagonalLaplace, IsotropicNoise, Scale
from support.posterior_oracles import relative_error


def head() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(4, 3).double()


def test_its_predictive_variance_is_that_of_white_noise_on_the_weights():
    """Var (W + E) a = variance |a|^2 at each output, with a 1 in `a` for the bias; outputs that are off have none."""
    noise = IsotropicNoise(head(), torch.tensor([True, False, True])).finalise(Scale(1.0, 1.0, prior_precision=4.0))
    x = torch.randn(5, 4, dtype=torch.float64)
    wanted = 0.25 * (x.square().sum(1) + 1)[:, None] * torch.tensor([1.0, 0.0, 1.0])
    assert relative_error(noise.predictive_variance(x), wanted) < 1e-6
    assert noise.mean_variance() == 0.25


def test_its_draws_have_that_variance():
    noise = IsotropicNoise(head()).finalise(Scale(1.0, 1.0, prior_precision=4.0))
    moved = torch.stack([noise.draw(k)["weight"] - noise.head.layer.weight.detach() for k in range(500)])
    assert abs(float(moved.var()) - 0.25) < 4 * 0.25 * (2 / moved.numel()) ** 0.5
    assert abs(float(moved.mean())) < 4 * 0.5 / moved.numel() ** 0.5


def test_it_takes_the_mean_variance_of_another_posterior():
    other = DiagonalLaplace(head())
    other.update(torch.randn(20, 4, dtype=torch.float64), None)
    other.finalise(Scale(100.0, 0.5, 2.0))
    noise = IsotropicNoise.matched_to(other)
    drawn = torch.stack([torch.cat([v.flatten() for v in other.draw(k).values()]) for k in range(2000)])
    assert noise.mean_variance() == pytest.approx(float(drawn.var(0).mean()), rel=0.05)
    assert noise.n_seen == 20 and noise.require_final().n_effective == 100.0


def test_no_curvature_costs_nothing_and_a_posterior_of_other_layers_lends_no_size():
    noise = IsotropicNoise(head())
    noise.update(torch.randn(7, 4))
    assert noise.n_seen == 7 and not noise.curvature.any() and not noise.eigenvalues().any()
    with pytest.raises(ConfigurationError, match=r"size of 'map'.*Use isotropic_network"):
        IsotropicNoise.matched_to(MAP(nn.Sequential(head())))
