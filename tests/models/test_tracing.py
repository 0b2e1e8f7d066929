"""The head is what runs last and arrives, whatever the order of registration."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from genuq.errors import ConfigurationError
from genuq.models import linked_head, traced_head


class Crossed(nn.Module):
    """Registers its head first, and runs last what is dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.body, self.variance = nn.Linear(4, 2), nn.Linear(2, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.body(x).tanh()
        return torch.cat([self.head(hidden), self.variance(hidden)], 1)


def test_is_neither_the_last_registered_nor_the_last_run() -> None:
    network, x = Crossed(), torch.randn(1, 2)
    assert traced_head(network, lambda: network(x)[:, :2]) == "head"
    assert not network.head._forward_hooks and not network.body._forward_hooks


def test_a_network_whose_layers_do_not_arrive_is_refused() -> None:
    network, x = Crossed(), torch.randn(1, 2)

    def ignored() -> torch.Tensor:
        network(x)
        return x

    with pytest.raises(ConfigurationError, match="reaches its prediction"):
        traced_head(network, ignored)


def test_without_numbers_it_is_the_last_that_autograd_links() -> None:
    network, x = Crossed().to("meta"), torch.empty(1, 2, device="meta")
    assert linked_head(network, lambda: network.head(network.body(x))) == "head"
    assert linked_head(network, lambda: network(x)) == "variance"
    assert not network.head._forward_hooks
    with pytest.raises(ConfigurationError, match="reaches its prediction"):
        linked_head(network, lambda: torch.zeros(1, requires_grad=True))
