"""The record of a run: from its start, and with results once it is evaluated."""

from __future__ import annotations

from pathlib import Path

from genuq import files
from genuq.analysis.evaluation_entries import read_evaluation
from genuq.analysis.numbers import numbers_of
from genuq.pipeline.recording import record_of
from genuq.pipeline.run import Run
from genuq.store.records import read_records
from support.small_runs import POINTS, composed, run_of


def test_a_finished_run_has_its_numbers_times_and_artefacts(points_run: Path) -> None:
    run = run_of(points_run, *POINTS)
    record = record_of(run)
    assert record.results is not None
    assert record.results.numbers == numbers_of(read_evaluation(points_run / "evaluate"))
    for stage in ("train", "fit", "sample", "embed", "score", "evaluate"):
        assert (run.store / record.artefacts[stage]).samefile(points_run / stage)
        assert record.seconds[stage] == files.read_json(points_run / stage / "manifest.json")["seconds"]
    assert record.config == run.plain() and (run.store / record.folder).samefile(points_run)


def test_a_run_that_has_not_begun_is_recorded_with_what_it_will_need(points_run: Path, tmp_path: Path) -> None:
    begun = Run(composed(*POINTS, f"store={tmp_path}/store"), tmp_path / "run", "genuq")
    record = record_of(begun)
    assert record.results is None and record.seconds == {}
    (ended,) = read_records(points_run / "store")
    assert (record.id, record.artefacts) == (ended.id, ended.artefacts)  # the same work, wherever it lies
