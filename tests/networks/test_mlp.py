"""The network of points, written out again as its formula."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from genuq.networks import MLP
from support.stirred import stirred


def test_it_is_a_residual_network_around_its_condition():
    network = stirred(MLP((3,), width=8, depth=2, num_classes=2))
    x, t, y = torch.randn(5, 3), torch.rand(5), torch.tensor([0, 1, 2, 0, 1])
    h, condition = network.entry(x), network.condition(t, y)
    for layer in network.layers:
        h = h + F.linear(F.silu(h + condition), layer.weight, layer.bias)
    wanted = F.silu(h) @ network.head.weight.T + network.head.bias
    torch.testing.assert_close(network(x, t, y), wanted)
    assert len(network.layers) == 2


def test_points_of_several_axes_keep_their_shape():
    network = stirred(MLP((2, 3), width=8, depth=1))
    x, t = torch.randn(4, 2, 3), torch.rand(4)
    assert network(x, t).shape == x.shape
    torch.testing.assert_close(network(x[1:2], t[1:2]), network(x, t)[1:2])
