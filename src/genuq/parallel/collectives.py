"""The process around a run: memory allocation, threads, and noise from libraries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import Sampler


def is_first_process() -> bool:
    """False in a process that was started to train along with others."""
    from lightning.pytorch.utilities import rank_zero_only  # slow to import, and not needed to check a configuration

    return getattr(rank_zero_only, "rank", 0) == 0


def agree(value: Any) -> Any:
    """The first process's value in all of them; one's own where there is one process."""
    import torch.distributed as processes  # slow to import, and not needed to check a configuration

    if not (processes.is_available() and processes.is_initialized()):
        return value
    box = [value]
    processes.broadcast_object_list(box, src=0)
    return box[0]


def totals(values: dict[str, float]) -> dict[str, float]:
    """The sums over all processes, of values under the same names."""
    import torch.distributed as processes

    if not (processes.is_available() and processes.is_initialized()):
        return values
    of_all: list[Any] = [None] * processes.get_world_size()
    processes.all_gather_object(of_all, values)
    return {name: sum(one[name] for one in of_all) for name in values}


class Share(Sampler):
    """The numbers of this process's batches that are still to be done: no padding, none twice."""

    def __init__(self, total: int, rank: int, world_size: int, done: int = 0) -> None:
        self.numbers = range(total)[rank::world_size][done:]

    def __iter__(self) -> Iterator[int]:
        return iter(self.numbers)

    def __len__(self) -> int:
        return len(self.numbers)
