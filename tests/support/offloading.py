"""Ways in which people offload a network that does not fit, as far as a machine with a CPU alone has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

CPU = torch.device("cpu")


def sequentially(network: nn.Module, folder: Path) -> None:
    """As `enable_sequential_cpu_offload` does: weights on the meta device, brought from memory layer by layer."""
    from accelerate import cpu_offload

    cpu_offload(network, CPU, offload_buffers=len(network._parameters) > 0)


def to_disk(network: nn.Module, folder: Path) -> None:
    from accelerate import disk_offload

    disk_offload(network, str(folder), CPU)


def dispatched(network: nn.Module, folder: Path) -> None:
    """One part stays, the others lie on the disk."""
    from accelerate import dispatch_model

    places: dict[str, Any] = {name: "disk" for name, _ in network.named_children()}
    dispatch_model(network, places | {next(iter(places)): "cpu"}, "cpu", offload_dir=str(folder))


def as_a_whole(network: nn.Module, folder: Path) -> None:
    """As `enable_model_cpu_offload` does."""
    from accelerate import cpu_offload_with_hook

    cpu_offload_with_hook(network, CPU)


def grouped(offload_type: str, on_disk: bool = False) -> Callable[[Any, Path], None]:
    """diffusers' groups."""

    def enable(network: Any, folder: Path) -> None:
        path = {"offload_to_disk_path": str(folder)} if on_disk else {}
        blocks = {"num_blocks_per_group": 1} if offload_type == "block_level" else {}
        network.enable_group_offload(CPU, CPU, offload_type=offload_type, **blocks, **path)

    return enable


ON_META = {"sequential": sequentially, "disk": to_disk, "dispatched": dispatched}
IN_GROUPS = {
    "blocks": grouped("block_level"),
    "leaves": grouped("leaf_level"),
    "leaves on disk": grouped("leaf_level", on_disk=True),
}
OFFLOADED: dict[str, Callable[[Any, Path], None]] = {**ON_META, "as a whole": as_a_whole, **IN_GROUPS}
