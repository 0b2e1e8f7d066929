"""Peak memory of a piece of work, to the byte: every allocation and release of torch's allocator, in their order.

The profiler reports each of them, temporaries inside an operator included, but not the release of what was allocated
before the work. Not seen: scratch space that a library (MKL, oneDNN) takes by itself, and Python's own objects.
tracemalloc does not see tensors, and a process's resident size keeps what an allocator has not given back.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

from torch.profiler import ProfilerActivity, profile

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler announces itself, and that it finds no GPU

Result = TypeVar("Result")


def peak_bytes(work: Callable[[], Result]) -> tuple[int, Result]:
    """(most bytes alive at any time during the work beyond those alive at its start, what the work returned)."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        result = work()
    return _peak(record), result


def _peak(record: profile) -> int:
    assert record.profiler is not None
    events: Any = record.profiler.kineto_results
    changes = [(event.start_ns(), event.nbytes()) for event in events.events() if event.name() == "[memory]"]
    alive = peak = 0
    for _, change in sorted(changes, key=lambda entry: entry[0]):
        alive += change
        peak = max(peak, alive)
    return peak
