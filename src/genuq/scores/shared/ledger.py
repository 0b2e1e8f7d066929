"""What several scores use is made once; each of them is charged what it would have cost alone."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


@dataclass(frozen=True)
class Cost:
    """Of one score for one batch, were it the only one.

    Attributes:
        evaluations: rows through the network.
        seconds: of all that it used and did.
    """

    evaluations: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.evaluations + other.evaluations, self.seconds + other.seconds)

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.evaluations - other.evaluations, self.seconds - other.seconds)

    def __truediv__(self, parts: int) -> Cost:
        return Cost(self.evaluations / parts, self.seconds / parts)


class _Made(NamedTuple):
    value: Tensor
    cost: Cost


class Ledger:
    """Tensors by their keys, each made when it is first asked for, with what it cost and which score used it.

    Args:
        rows: tells how many rows have gone through the network so far.
        wait: returns when the device has done all that it was asked to.

    Attributes:
        costs: of the scores, by name.
    """

    def __init__(self, rows: Callable[[], float], wait: Callable[[], None]) -> None:
        self.costs: dict[str, Cost] = {}
        self._rows, self._wait = rows, wait
        self._made: dict[Hashable, _Made] = {}
        self._used: set[Hashable] = set()
        self._making = Cost()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._made

    def give(self, key: Hashable, value: Tensor) -> None:
        """Something that was there anyway, and costs nothing."""
        self._made[key] = _Made(value, Cost())

    def get(self, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """What has this key, made now unless it is there."""
        if key not in self._made:
            self.fill([key], lambda: [make()])
        return self.used(key)

    def used(self, key: Hashable) -> Tensor:
        """What is there under this key, charged to the score at work."""
        self._used.add(key)
        return self._made[key].value

    def fill(self, keys: Sequence[Hashable], make: Callable[[], Sequence[Tensor]]) -> None:
        """Make several at once, which share the cost in equal parts. `make` asks this ledger for nothing."""
        before = self._spent()
        values = make()
        spent = self._spent() - before
        self._making += spent
        self._made |= {key: _Made(value, spent / len(keys)) for key, value in zip(keys, values, strict=True)}

    @contextlib.contextmanager
    def charging(self, name: str) -> Iterator[None]:
        """Charge to the score `name` all that is used inside, whoever had it made, and what it did itself."""
        self._used, making, before = set(), self._making, self._spent()
        yield
        own = self._spent() - before - (self._making - making)
        self.costs[name] = sum((self._made[key].cost for key in self._used), own)

    def _spent(self) -> Cost:
        self._wait()
        return Cost(self._rows(), time.perf_counter())
