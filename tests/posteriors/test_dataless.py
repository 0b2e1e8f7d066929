"""The trained network alone, as a posterior."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from genuq.errors import ConfigurationError
from genuq.posteriors import MAP, Scale, swapped


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def test_every_draw_is_the_trained_network():
    one, x = network(), torch.randn(5, 3)
    before = one(x)
    posterior = MAP(one).finalise(Scale(1.0, 1.0, 1.0))
    for index in range(3):
        drawn = posterior.draw(index, seed=index)
        assert drawn.keys() == dict(one.named_parameters()).keys()
        with swapped(one, drawn):
            assert torch.equal(one(x), before)
    assert posterior.mean_variance() == 0.0 and posterior.relative_perturbation() == 0.0


def test_it_learns_from_no_data_and_draws_nothing_before_it_is_final():
    posterior = MAP(network())
    with pytest.raises(ConfigurationError, match="posterior 'map' is not fitted to data"):
        posterior.update(torch.zeros(1, 3))
    with pytest.raises(ConfigurationError):
        posterior.draw(0)
    assert posterior.sums() == {}
