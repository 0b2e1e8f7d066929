"""What the page of a study shows: each run with the line that its own score has in its summary."""

from __future__ import annotations

from dataclasses import replace

from support.made_page import make_study, typed


def test_a_runs_own_line_is_that_of_its_score() -> None:
    (run,) = typed(make_study({}, seeds=1, samples=8)).runs
    assert run.own is not None and run.own.score == run.score
    other = next(line for line in run.summary.table if line.score != run.score)
    assert replace(run, score=other.score).own == other
    assert replace(run, score="absent").own is None
