"""What making one artefact takes: network evaluations, pieces of work of one kind each, bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from genuq.pipeline.run import MAIN_POSTERIOR

Evaluations = dict[str, tuple[float, float]]  # by purpose: rows through the network, forwards and backwards


def rows_of(evaluations: Evaluations) -> float:
    """Rows of all purposes, forwards and backwards together."""
    return sum(map(sum, evaluations.values()))


@dataclass(frozen=True)
class Piece:
    """So much of one kind of work.

    Attributes:
        kind: a name of `calibration.MEASURES`; or `rule`, whose amount is seconds by a stated rule.
        amount: rows, steps, images.
        batch: rows at a time.
        name: of the posterior, for a fit.
    """

    kind: str
    amount: float
    batch: int = 1
    name: str = MAIN_POSTERIOR


@dataclass(frozen=True)
class Work:
    """What making one artefact takes.

    Attributes:
        evaluations: of the model's network, by purpose.
        pieces: what takes the time.
        like: plain data; artefacts of one stage that agree in it take as long for the same amount.
        amount: what the time of artefacts that are alike is proportional to.
        bytes: of its files.
        passing: bytes that are there only while it is made.
    """

    evaluations: Evaluations
    pieces: list[Piece]
    like: dict[str, Any]
    amount: float
    bytes: int
    passing: int = 0

    @property
    def forward(self) -> float:
        return sum(forward for forward, _ in self.evaluations.values())

    @property
    def backward(self) -> float:
        return sum(backward for _, backward in self.evaluations.values())


@dataclass
class Sum:
    """Evaluations by purpose, as they come together."""

    found: Evaluations = field(default_factory=dict)

    def add(self, purpose: str, forward: float, backward: float = 0.0) -> None:
        before = self.found.get(purpose, (0.0, 0.0))
        self.found[purpose] = (before[0] + forward, before[1] + backward)
