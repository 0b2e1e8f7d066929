"""The ledger: everything is made once, and each score pays for all that it uses."""

from __future__ import annotations

import pytest
import torch

from genuq.scores.shared import Cost, Ledger


def test_what_two_scores_use_is_made_once_and_charged_to_both() -> None:
    rows, made = [0.0], []
    ledger = Ledger(lambda: rows[0], lambda: None)

    def make(value: float, cost: float) -> torch.Tensor:
        made.append(value)
        rows[0] += cost
        return torch.tensor(value)

    ledger.give("free", torch.tensor(7.0))
    with ledger.charging("first"):
        assert ledger.get("a", lambda: make(1.0, 10)) == 1
        assert ledger.get("a", lambda: make(1.0, 10)) == 1 and ledger.used("free") == 7
    with ledger.charging("second"):
        ledger.get("a", lambda: make(1.0, 10))
        ledger.fill(["b", "c"], lambda: [make(2.0, 3), make(3.0, 1)])
        assert ledger.used("b") == 2 and "c" in ledger and "d" not in ledger
    with ledger.charging("third"):
        rows[0] += 5  # evaluated past the ledger
        ledger.used("c")
    assert made == [1, 2, 3]
    assert {name: cost.evaluations for name, cost in ledger.costs.items()} == {"first": 10, "second": 12, "third": 7}


def test_seconds_are_those_of_the_work_and_of_what_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("genuq.scores.shared.ledger.time.perf_counter", lambda: clock[0])

    def wait(seconds: float) -> torch.Tensor:
        clock[0] += seconds
        return torch.zeros(())

    ledger = Ledger(lambda: 0.0, lambda: None)
    for name, own in (("first", 1.0), ("second", 2.0)):
        with ledger.charging(name):
            ledger.get("shared", lambda: wait(4.0))
            wait(own)
    assert {name: cost.seconds for name, cost in ledger.costs.items()} == {"first": 5.0, "second": 6.0}


def test_costs_add_up() -> None:
    assert (Cost(6, 3) + Cost(2, 1) - Cost(4, 2)) / 2 == Cost(2, 1)
