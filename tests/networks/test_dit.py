"""The transformer over patches."""

from __future__ import annotations

import torch
from torch import nn

from genuq.networks import DiT


def test_patches_return_where_they_came_from():
    """With identity blocks and a head that inverts the entry, DiT is a linear map of each patch alone."""
    network = DiT((1, 8, 8), patch=4, width=16, depth=1, heads=2)
    x, t = torch.randn(1, 1, 8, 8), torch.rand(1)
    nn.init.normal_(network.head.weight)
    moved = x.clone()
    moved[..., 4:, :4] += torch.randn(4, 4)  # the lower left patch
    change = (network(moved, t) - network(x, t)).abs()[0, 0]
    assert change[4:, :4].amax() > 1e-3
    change[4:, :4] = 0
    assert change.amax() == 0, "blocks start as the identity, so other patches must not see it"
