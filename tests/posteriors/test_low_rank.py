"""Low-rank differences of weights, against numpy's singular values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from genuq.errors import CheckpointError, ConfigurationError
from genuq.posteriors.low_rank import LowRank, attach, factors


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.GroupNorm(2, 6), nn.Flatten(), nn.Linear(96, 4)).double()


def test_a_fresh_adapter_changes_nothing_and_only_adapters_learn():
    one, x = network(), torch.randn(3, 2, 4, 4, dtype=torch.float64)
    before = one(x).detach()
    adapters = attach(one, 3, seed=1, index=0)
    assert list(adapters) == ["0.weight", "3.weight"] and torch.equal(one(x), before)
    learning = {id(parameter) for parameter in one.parameters() if parameter.requires_grad}
    assert learning == {id(adapter.up) for adapter in adapters.values()}


def test_projections_have_orthonormal_rows_and_belong_to_seed_member_and_layer():
    adapters = attach(network(), 3, seed=1, index=0)
    for adapter in adapters.values():
        np.testing.assert_allclose(adapter.down @ adapter.down.T, np.eye(3), atol=1e-12)
    again, other = attach(network(), 3, seed=1, index=0), attach(network(), 3, seed=1, index=1)
    assert all(torch.equal(again[name].down, adapter.down) for name, adapter in adapters.items())
    assert not any(torch.equal(other[name].down, adapter.down) for name, adapter in adapters.items())


def test_a_rank_above_the_weights_own_is_cut_to_it():
    adapter = LowRank(torch.zeros(4, 3), 10, torch.Generator())
    assert adapter.up.shape == (4, 3) and adapter.down.shape == (3, 3)


def test_what_an_adapter_learns_is_a_difference_of_its_rank():
    one, weight = network(), network()[3].weight.detach()
    adapter = attach(one, 2, seed=0, index=0)["3.weight"]
    nn.init.normal_(adapter.up)
    assert np.linalg.matrix_rank((one[3].weight - weight).detach().numpy(), tol=1e-9) == 2


@pytest.mark.parametrize("shape", [(6, 4), (6, 2, 3, 3)])
def test_factors_give_a_difference_of_their_rank_back(shape):
    """And leave torch's random numbers to others."""
    torch.manual_seed(0)
    left, right = torch.randn(shape[0], 2), torch.randn(2, int(np.prod(shape[1:])))
    state = torch.get_rng_state()
    up, down = factors((left @ right).reshape(shape), 2, "w")
    torch.testing.assert_close(up @ down, left @ right, rtol=1e-4, atol=1e-4)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_loss_of_more_than_a_hundredth_is_refused_with_its_share():
    difference = torch.diag(torch.tensor([4.0, 3.0]))  # of which the second fifth, 3 / 5, would be lost
    with pytest.raises(CheckpointError, match=r"'head' has a rank above 1: 60% of it would be lost"):
        factors(difference, 1, "head")


def test_a_parametrised_layer_is_refused_by_name():
    one = network()
    attach(one, 1, 0, 0)
    with pytest.raises(ConfigurationError, match=r"posterior\.rank: layer '0' is parametrised already"):
        attach(one, 1, 0, 0)
