"""Seconds of a piece of work, told in few seconds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

import torch

LONGEST = 3.0  # seconds of one measurement
STEADY = 0.2  # seconds that a measurement repeats its work for


def steady(work: Callable[[], object]) -> float:
    """Median seconds of a piece of work, after one that warms up."""
    work()
    times: list[float] = []
    while sum(times) < STEADY and len(times) < 50:
        started = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def seconds_of(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def bearable(work: Callable[[int], object], batch: int) -> float:
    """Seconds of a row of work on `batch` rows at once, or on fewer where that many would take too long.

    The first time tells how long a row takes only where it is long: else it is what the first of anything takes.
    """
    once = seconds_of(lambda: work(1))
    once = once if once > LONGEST else seconds_of(lambda: work(1))
    rows = 1
    while rows < batch and 4 * once < LONGEST / 3:  # a small network takes as long for many rows as for one
        rows = min(batch, 4 * rows)
        once = seconds_of(partial(work, rows))
    return steady(lambda: work(rows)) / rows
