"""Times of several pieces of work, measured side by side: on a machine that others use too, only ratios mean much."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

Work = Callable[[], object]


def interleaved(work: Mapping[str, Work], rounds: int, warm: bool = True) -> dict[str, list[float]]:
    """Seconds of each piece of work in each round, which does all of them in turn; after one unmeasured round."""
    for piece in work.values() if warm else ():
        piece()
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, piece in work.items():
            seconds[name].append(elapsed(piece))
    return seconds


def elapsed(work: Work) -> float:
    """Seconds that the work takes, once."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def ratio(seconds: Mapping[str, list[float]], name: str, base: str) -> float:
    """Median over rounds of `name` over median of `base`."""
    return statistics.median(seconds[name]) / statistics.median(seconds[base])
