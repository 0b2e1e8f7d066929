"""Rows of whole jobs: all keys, ratios to the first, targets met or not, one line each in the table."""

from __future__ import annotations

import torch

from genuq.bench import rows
from genuq.bench.rows import OURS, Row, not_run, side_by_side, table
from genuq.bench.timing import Spent
from genuq.models import GenerativeModel
from genuq.networks import MLP

KEYS = {"what", "side", "seconds", "cpu_seconds", "peak_bytes", "evaluations", "ratio", "over", "target", "met"}


def test_a_record_has_every_key_whether_measured_or_not():
    for row in (Row("a"), not_run("a", "no such library", "theirs", target=2.0)):
        assert row.record.keys() == KEYS | {"reason", "values"}
    assert Row("a", ratio=1.2, target=1.25).met and not Row("a", ratio=1.3, target=1.25).met
    assert Row("a", ratio=1.2).met is None and not_run("a", "why", target=1.0).met is None


def test_evaluations_bytes_and_ratios_are_beside_the_first(monkeypatch):
    model = GenerativeModel(MLP((2,), width=8, depth=1), (2,)).eval()

    def work(passes: int) -> dict[str, float]:
        for _ in range(passes):
            model(torch.zeros(3, 2), torch.zeros(3))
        return {"passes": float(passes)}

    seconds = iter([1.0, 6.0, 3.0, 8.0, 2.0, 7.0])
    monkeypatch.setattr(rows, "spent_in_turn", lambda work, rounds, warm: _taken(work, rounds, seconds))
    first, second = side_by_side({"one": lambda: work(1), "two": lambda: work(2)}, 3, model, 2.0, {"two": "theirs"})
    assert (first.evaluations, second.evaluations) == (3, 6) and second.values == {"passes": 2.0}
    assert (first.side, second.side) == (OURS, "theirs") and first.peak_bytes
    assert (first.cpu_seconds, second.ratio) == (2.0, 7.0 / 4.0)


def _taken(work, rounds, seconds):
    taken = [{name: next(seconds) for name in work} for _ in range(rounds)]
    return {name: [Spent(turn[name], turn[name]) for turn in taken] for name in work}


def test_a_line_says_what_was_reached_or_why_not():
    lines = table([Row("fit", ratio=2.0, target=1.0).record, not_run("metric", "not installed", "x").record])
    assert "| fit | genuq |" in lines and "| no |" in lines and "not installed" in lines
