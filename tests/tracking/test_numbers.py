"""What a logger shows of an evaluation: the record's numbers, and the scale of the run's own posterior."""

from __future__ import annotations

from pathlib import Path

from genuq import files
from genuq.analysis.evaluation_entries import read_evaluation
from genuq.analysis.numbers import numbers_of
from genuq.tracking.numbers import evaluation_numbers
from support.small_runs import POINTS, run_of


def test_the_scale_stands_beside_the_numbers_of_the_record(points_run: Path) -> None:
    evaluation = read_evaluation(points_run / "evaluate")
    found = evaluation_numbers(run_of(points_run, *POINTS), evaluation)
    assert numbers_of(evaluation).items() <= found.items()
    scale = files.read_json(points_run / "fit" / "manifest.json")["notes"]["posteriors"]["draws"]["scale"]
    numbers = {f"posterior/{key}": value for key, value in scale.items() if isinstance(value, int | float)}
    assert {key: value for key, value in found.items() if key.startswith("posterior/")} == numbers
