"""Prior dominance beside dense matrices."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from genuq.errors import ConfigurationError
from genuq.posteriors import MAP, DiagonalLaplace, ExactLastLayerLaplace, IsotropicNoise, Scale, prior_dominance

SCALE = Scale(n_effective=100.0, observation_noise=0.5, prior_precision=40.0, temperature=2.0)


def head() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(4, 3).double()


def test_of_a_last_layer_it_is_that_of_the_dense_precision():
    torch.manual_seed(1)
    features = torch.randn(20, 4, dtype=torch.float64)
    active = torch.tensor([True, True, False])
    posterior = ExactLastLayerLaplace(head(), active)
    posterior.update(features)
    found = prior_dominance(posterior.finalise(SCALE))
    inputs = torch.cat([features, torch.ones(20, 1, dtype=torch.float64)], dim=1)
    curvature = torch.kron(torch.eye(2, dtype=torch.float64), inputs.T @ inputs) * 100 / 20 / 2 / 0.5
    precision = curvature + 40 * torch.eye(10, dtype=torch.float64)
    covariance = torch.linalg.inv(precision)
    assert found.parameters == 10
    assert found.effective_parameters == pytest.approx(float((curvature @ covariance).trace()), rel=1e-9)
    assert found.trace_ratio == pytest.approx(float(covariance.trace()) / (10 / 40), rel=1e-9)
    assert found.trace_ratio == pytest.approx(1 - found.decided_by_data, rel=1e-9)
    moved = float(covariance.trace() / posterior.head.matrix()[:2].square().sum()) ** 0.5
    assert found.relative_move == pytest.approx(moved, rel=1e-9)


@pytest.mark.parametrize(("prior", "data_decide"), [(1e-4, True), (1e8, False)])
def test_a_weak_prior_leaves_it_to_the_data_and_a_strong_one_does_not(prior, data_decide):
    posterior = DiagonalLaplace(head())
    posterior.update(torch.randn(20, 4, dtype=torch.float64))
    found = prior_dominance(posterior.finalise(Scale(100.0, 0.5, prior)))
    assert (found.decided_by_data > 0.99, found.trace_ratio > 0.99) == (data_decide, not data_decide)


def test_noise_is_all_prior():
    found = prior_dominance(IsotropicNoise(head()).finalise(SCALE))
    assert (found.parameters, found.effective_parameters, found.trace_ratio) == (15, 0.0, 1.0)


def test_a_posterior_without_curvature_tells_how_far_it_moves():
    found = prior_dominance(MAP(nn.Sequential(head())).finalise(SCALE))
    assert (found.effective_parameters, found.trace_ratio, found.decided_by_data) == (None, None, None)
    assert found.relative_move == 0.0
    with pytest.raises(ConfigurationError, match="no scale yet"):
        prior_dominance(DiagonalLaplace(head()))
