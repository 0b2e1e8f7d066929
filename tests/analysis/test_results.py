"""results.json on disk, and the measures of an application."""

from __future__ import annotations

import json

import pytest

from genuq import entries, files
from genuq.analysis.results import OutcomeRow, Results
from genuq.analysis.score_entries import IntervalRow
from genuq.errors import ArtefactError
from support.made_run import make_results, typed


def test_results_come_back_as_they_were_and_what_is_missing_has_its_default(tmp_path):
    made = typed(make_results(samples=12, draws=2)[0])
    files.write_json(tmp_path / "results.json", files.plain(made))
    assert entries.read(tmp_path / "results.json", Results) == made
    plain = json.loads((tmp_path / "results.json").read_text())
    for key in ("maps", "application", "warnings", "truth", "judged_maps"):
        plain.pop(key)
    files.write_json(tmp_path / "older.json", plain)
    older = entries.read(tmp_path / "older.json", Results)
    assert older.maps is older.application is older.truth is None and not older.warnings and not older.judged_maps
    files.write_json(tmp_path / "other.json", plain | {"mood": "good"})
    with pytest.raises(ArtefactError, match=r"other\.json: 'mood' is not a key"):
        entries.read(tmp_path / "other.json", Results)


def test_the_rows_of_an_outcome_are_ours_the_controls_and_their_gap():
    row = OutcomeRow("realism", 0.9, 0.8, 1.0, 0.7, 0.6, 0.75, 0.2, 0.1, 0.3, n=40)
    assert (row.ours, row.control) == (IntervalRow(0.9, 0.8, 1.0), IntervalRow(0.7, 0.6, 0.75))
    assert row.gap == IntervalRow(0.2, 0.1, 0.3)
