"""What the processes of one run say to each other: who is first, what all agree on, sums over all, and shares of work.

In a run of one process each of these does nothing.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lightning_utilities.core.rank_zero import rank_zero_only
from torch import Tensor

_at_work, _leaving = threading.Lock(), threading.Event()
RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")  # of the environment, in Lightning's order


def is_first_process() -> bool:
    """False in a process that was started to train along with others."""
    return number_of_this_process() == 0


def number_of_this_process() -> int:
    """Among those that Lightning, torchrun or Slurm started, as Lightning reads it when it is imported."""
    told = getattr(rank_zero_only, "rank", None)
    if told is not None:
        return int(told)
    return next((int(os.environ[name]) for name in RANKS if name in os.environ), 0)


def group() -> Any:
    """torch's group of connected processes; None where this one is alone."""
    import torch.distributed as processes  # slow to import, and not needed to check a configuration

    return processes if processes.is_available() and processes.is_initialized() else None


def rank_and_count() -> tuple[int, int]:
    """The number of this process, from zero, and how many there are."""
    processes = group()
    return (processes.get_rank(), processes.get_world_size()) if processes else (0, 1)


def agree(value: Any) -> Any:
    """The first process's value in all of them; one's own where there is one process."""
    processes = group()
    if processes is None:
        return value
    box = [value]
    processes.broadcast_object_list(box, src=0)
    return box[0]


def wait_for_all() -> None:
    """Return when all processes have come to this point."""
    processes = group()
    if processes is not None:
        import torch

        on_gpu = processes.get_backend() == "nccl"
        processes.barrier(device_ids=[torch.cuda.current_device()] if on_gpu else None)


def totals(values: dict[str, float]) -> dict[str, float]:
    """The sums over all processes, of values under the same names."""
    processes = group()
    if processes is None:
        return values
    of_all: list[Any] = [None] * processes.get_world_size()
    processes.all_gather_object(of_all, values)
    return {name: sum(one[name] for one in of_all) for name in values}


def added(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The sums over all processes, of tensors under the same names, on the CPU."""
    processes = group()
    if processes is None:
        return dict(tensors)
    where = "cuda" if processes.get_backend() == "nccl" else "cpu"
    total = {name: tensor.detach().to(where, copy=True).contiguous() for name, tensor in tensors.items()}
    for tensor in total.values():
        processes.all_reduce(tensor)
    return {name: tensor.cpu() for name, tensor in total.items()}


def share(total: int, done: int = 0) -> range:
    """The numbers, of 0 to `total` - 1, that are this process's and still to be done: none is left out, none twice.

    Args:
        done: how many of its own this process has done already.
    """
    rank, count = rank_and_count()
    return range(total)[rank::count][done:]


@contextlib.contextmanager
def undisturbed() -> Iterator[Callable[[], bool]]:
    """Within it this process is not ended because another one has died: what needs no others goes on.

    Yields:
        what says whether the job is gone, so that nothing new should be begun.
    """
    with _at_work:
        yield _leaving.is_set


def end_this_process(soon: bool) -> None:
    """End this process, which others of its job have left alone, but not in the midst of what it does undisturbed.

    Args:
        soon: whether that is to begin nothing new.
    """
    if soon:
        _leaving.set()
    with _at_work:
        os._exit(1)
