"""Networks whose weights are random everywhere."""

from __future__ import annotations

import torch
from torch import nn


def stirred(network: nn.Module) -> nn.Module:
    """Random weights everywhere: the zero initialisation of heads and gates would hide what is wrong."""
    source = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=source))
    return network.eval()
