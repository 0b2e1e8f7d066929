"""A network whose weights, averages and optimiser state are divided among the processes while it is trained (FSDP)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from genuq.parallel.hardware import DIVIDING

STRATEGY = DIVIDING
PRECISIONS = ("32-true", "bf16-mixed", "bf16-true")


def strategy() -> Any:
    """Lightning's strategy for it, once all processes are connected: torch's second FSDP, with whole checkpoints."""
    import torch.distributed as processes
    from lightning.pytorch.strategies import ModelParallelStrategy

    world = processes.get_world_size()
    return ModelParallelStrategy(data_parallel_size=world, tensor_parallel_size=1, save_distributed_checkpoint=False)


def divide(network: nn.Module, mesh: Any) -> None:
    """Divide the weights in place; the members of the network's lists of layers are whole only one at a time."""
    from torch.distributed.fsdp import fully_shard  # slow to import, and of divided trainings alone

    for part in list(network.modules()):
        for layer in part if isinstance(part, nn.ModuleList) else ():
            if next(layer.parameters(), None) is not None and not isinstance(layer, nn.ModuleList):
                fully_shard(layer, mesh=mesh)
    fully_shard(network, mesh=mesh)


def parts(tensors: Sequence[Tensor]) -> list[Tensor]:
    """What this process has of each; the same memory."""
    return [value.to_local() if hasattr(value, "to_local") else value for value in tensors]


def whole(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state with the tensors of all processes put together, in each of them."""
    return {name: value.full_tensor() if hasattr(value, "full_tensor") else value for name, value in state.items()}
