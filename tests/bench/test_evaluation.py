"""The benchmark of evaluations: its records, and that both sides find the same numbers."""

from __future__ import annotations

import argparse

import pytest

from genuq.bench import evaluation
from genuq.bench.evaluation import ALONE, MANIFOLD, POINTS, WHOLE, Case, measure
from genuq.errors import ConfigurationError


def test_sides_find_the_same_numbers_and_say_what_they_took():
    ours, theirs = (measure(Case(side, MANIFOLD, 90, 64)) for side in ("genuq", "prdc"))
    assert ours["values"] == pytest.approx(theirs["values"], abs=1e-6)
    assert ours["seconds"] > 0 and ours["peak_bytes"] > 0
    alone = measure(Case("genuq", ALONE, 90, 64))
    assert {name: alone["values"][name] for name in ours["values"]} == ours["values"]


def test_a_library_is_imported_before_its_work_begins():
    asked: list[tuple[int, int, int]] = []

    def metric(real, fake, neighbours):
        asked.append((*real.shape, neighbours))
        return {"fid": 0.0}

    work = evaluation.by_peer(metric)(90, 64)
    assert asked == [(8, 2, 2)]
    assert work() == {"fid": 0.0} and asked[1] == (90, 64, evaluation.NEIGHBOURS)


def test_records_are_medians_beside_the_first_case(monkeypatch):
    taken = {("a", 0): 3.0, ("a", 1): 1.0, ("a", 2): 2.0, ("b", 0): 8.0, ("b", 1): 9.0, ("b", 2): 7.0}
    turns = {"a": 0, "b": 0}

    def measured(case: Case) -> dict[str, object]:
        seconds = taken[case.side, turns[case.side]]
        turns[case.side] += 1
        return {"seconds": seconds, "cpu_seconds": seconds, "peak_bytes": 10 * seconds, "values": {}}

    monkeypatch.setattr(evaluation, "measured", measured)
    first, second = evaluation.compared([Case(side, MANIFOLD, 5, 2) for side in "ab"], 3)
    assert (first["seconds"], second["seconds"], second["ratio"], second["peak_ratio"]) == (2.0, 8.0, 4.0, 4.0)
    assert "4.00" in evaluation.table([first, second])


def test_all_cases_are_asked_for(monkeypatch):
    asked: list[Case] = []

    def compared(cases, rounds):
        asked.extend(cases)
        return []

    monkeypatch.setattr(evaluation, "compared", compared)
    command = argparse.ArgumentParser()
    command.add_argument("--quick", action="store_true")
    evaluation.configure(command)
    evaluation.run(command.parse_args(["--quick", "--peers"]))
    assert {case.work for case in asked} == {POINTS, WHOLE, ALONE, MANIFOLD}
    assert {case.side for case in asked} == {"genuq", "prdc"}
    monkeypatch.setattr(evaluation, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="pip install prdc"):
        evaluation.run(command.parse_args(["--peers"]))
