"""Low-rank differences of weights: adapters on Linear and Conv2d layers, and factors of a difference.

A weight counts as a matrix (O, K), a row for each output channel.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from genuq.errors import CheckpointError, ConfigurationError
from genuq.models import head_candidates
from genuq.randomness import generator

OVERSAMPLING = 8  # further columns of the randomised singular value decomposition


class LowRank(nn.Module):
    """weight + up @ down: `up` (O, r) starts at zero and is trained, `down` (r, K) is random with orthonormal rows.

    With `down` fixed the weight is linear in what is trained, and an isotropic Gaussian over a row of the difference,
    restricted to the subspace, is an isotropic Gaussian over the row of `up`.
    Source: LoRA (Hu et al. 2021) with a frozen projection (LoRA-FA, Zhang et al. 2023).
    """

    down: Tensor

    def __init__(self, weight: Tensor, rank: int, source: torch.Generator) -> None:
        super().__init__()
        outputs, inputs = weight.flatten(1).shape
        random_KR = torch.randn(inputs, min(rank, outputs, inputs), generator=source, dtype=torch.float64)
        self.register_buffer("down", torch.linalg.qr(random_KR).Q.T.to(weight))
        self.up = nn.Parameter(weight.new_zeros(outputs, len(self.down)))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + product(self.up, self.down, weight.shape)


def product(up: Tensor, down: Tensor, shape: Sequence[int]) -> Tensor:
    """up @ down in the shape of a weight."""
    return (up @ down).reshape(*shape)


def weight_name(layer: str) -> str:
    """The name of a layer's weight in the network; the network may itself be the layer."""
    return f"{layer}.weight" if layer else "weight"


def attach(network: nn.Module, rank: int, seed: int, index: int) -> dict[str, LowRank]:
    """Put an adapter on every Linear and Conv2d layer of `network`, whose own parameters stop learning.

    Args:
        seed, index: key the random projections.

    Returns:
        The adapters by the names that their weights had.
    """
    adapters = {}
    network.requires_grad_(False)
    for name in head_candidates(network):
        layer = network.get_submodule(name)
        if parametrize.is_parametrized(layer, "weight"):
            raise ConfigurationError(f"posterior.rank: layer '{name}' is parametrised already. Set it to null.")
        adapter = LowRank(
            network.get_parameter(weight_name(name)).detach(), rank, generator(seed, index, f"projection of {name}")
        )
        parametrize.register_parametrization(layer, "weight", adapter)
        adapters[weight_name(name)] = adapter
    return adapters


def factors(difference: Tensor, rank: int, name: str, largest_loss: float = 0.01) -> tuple[Tensor, Tensor]:
    """(up (O, r), down (r, K)) of a difference that has this rank.

    Raises:
        CheckpointError: more than `largest_loss` of its norm would be lost.
    """
    matrix_OK = difference.flatten(1)
    columns = min(rank + OVERSAMPLING, *matrix_OK.shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        u, s, v = torch.svd_lowrank(matrix_OK, q=columns)
    up, down = u[:, :rank] * s[:rank].sqrt(), (v[:, :rank] * s[:rank].sqrt()).T
    loss, size = float((matrix_OK - up @ down).norm()), float(matrix_OK.norm())
    if loss > largest_loss * size:
        raise CheckpointError(
            f"the difference of '{name}' has a rank above {rank}: {loss / size:.0%} of it would be lost. Raise "
            "posterior.rank, or set it to null for full weights."
        )
    return up, down
