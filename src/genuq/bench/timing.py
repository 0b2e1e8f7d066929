"""Times of several pieces of work, measured side by side: on a machine that others use too, only ratios mean much."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

Work = Callable[[], object]


class Spent(NamedTuple):
    """Seconds that something took, and seconds of CPU in this process, which waiting for a core does not add to."""

    seconds: float
    cpu_seconds: float


def interleaved(work: Mapping[str, Work], rounds: int, warm: bool = True) -> dict[str, list[float]]:
    """Seconds of each piece of work in each round, which does all of them in turn; after one unmeasured round."""
    spent = spent_in_turn(work, rounds, warm)
    return {name: [one.seconds for one in its] for name, its in spent.items()}


def spent_in_turn(work: Mapping[str, Work], rounds: int, warm: bool = True) -> dict[str, list[Spent]]:
    """What each piece of work took in each round, which does all of them in turn; after one unmeasured round."""
    for piece in work.values() if warm else ():
        piece()
    taken: dict[str, list[Spent]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, piece in work.items():
            taken[name].append(spent(piece))
    return taken


def elapsed(work: Work) -> float:
    """Seconds that the work takes, once."""
    return spent(work).seconds


def spent(work: Work) -> Spent:
    """What the work takes, once."""
    started, used = time.perf_counter(), time.process_time()
    work()
    return Spent(time.perf_counter() - started, time.process_time() - used)


def median(taken: list[Spent]) -> Spent:
    """Of each of the two, the median over rounds."""
    return Spent(*(statistics.median(values) for values in zip(*taken)))


def ratio(seconds: Mapping[str, list[float]], name: str, base: str) -> float:
    """Median over rounds of `name` over median of `base`."""
    return statistics.median(seconds[name]) / statistics.median(seconds[base])
