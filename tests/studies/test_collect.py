"""A study's table and curves, from made-up records whose numbers the tests know."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from genuq.analysis.seeds import Reading
from genuq.errors import ConfigurationError
from genuq.studies.collect import curves_of, reading, record_numbers, scores_of, table_of
from genuq.studies.declaration import read_study
from genuq.studies.grid import Matched, matched
from support.made_study import declare, make_runs, numbers, record


def collected(root: Path, seeds: int = 2, with_curves: bool = False, **changes: object) -> tuple[object, Matched]:
    runs = make_runs(root / "store", seeds, with_curves)
    study = read_study(declare(root / "study", **changes))
    return study, matched(study.jobs, runs, root / "store")


def test_every_cell_holds_the_runs_of_its_seeds(tmp_path: Path) -> None:
    study, found = collected(tmp_path)
    table = table_of(study, found, tmp_path / "store")
    assert len(table.rows) == 6 and table.columns == ("pixel", "semantic") and table.expected == 36
    assert len(table.missing) == 12 and all("seed=2" in command for command in table.missing)
    for row in table.rows:
        for column in table.columns:
            known = [numbers(*row, column, seed)["entropy/auroc"] for seed in (0, 1)]
            cell = table.cell(row, column, table.measures[0])
            assert cell.estimate is not None and cell.expected == 3
            assert cell.estimate.mean == pytest.approx(sum(known) / 2)


def test_rows_of_scores_have_a_line_for_each(tmp_path: Path) -> None:
    study, found = collected(tmp_path, scores=["entropy", "jitter"], measures=["auroc"])
    table = table_of(study, found, tmp_path / "store")
    assert [row[-1] for row in table.rows[:2]] == ["Generative uncertainty", "Initial-noise jitter"]
    assert len(table.rows) == 12 and table.keys[-1] == "score"


def test_a_reading_has_an_interval_where_the_run_has_one() -> None:
    run = record({"model": "ddpm", "posterior": "kfac", "likelihood": "pixel"}, 0)
    known = record_numbers(run)
    assert known["seconds/fit"] == 2.5
    auroc = known["entropy/auroc"]
    assert reading(run, "entropy/auroc") == Reading(auroc, auroc - 0.05, auroc + 0.04)
    assert reading(run, "fid") == Reading(known["fid"]) and reading(run, "absent") is None


def test_a_number_that_no_run_has_is_answered_with_the_nearest(tmp_path: Path) -> None:
    study, found = collected(tmp_path, measures=["entropy/auroq"])
    with pytest.raises(ConfigurationError, match=r"has the number 'entropy/auroq'.*Did you mean 'entropy/auroc'"):
        table_of(study, found, tmp_path / "store")


def test_notes_tell_of_runs_that_are_left_out_and_of_none(tmp_path: Path) -> None:
    study, found = collected(tmp_path)
    stranger = record({"model": "ddpm", "posterior": "map", "likelihood": "pixel"}, 0)
    notes = table_of(study, Matched(found.runs, [], [stranger]), tmp_path / "store").notes
    assert notes[0] == "Measures of a score are those of: Generative uncertainty."
    assert f"not of its commands, and left out: {stranger.name}." in notes[1]
    empty = read_study(declare(tmp_path / "other", study="other"))
    (_, note) = table_of(empty, Matched({}, [], []), tmp_path / "store").notes
    assert "No run of study 'other' is recorded" in note and "it has runs of posteriors" in note


def test_curves_are_of_the_runs_whose_evaluation_is_still_there(tmp_path: Path) -> None:
    study, found = collected(tmp_path, with_curves=True)
    none = read_study(declare(tmp_path / "none", curves=[]))
    assert curves_of(none, found, tmp_path / "store") == {}
    drawn = curves_of(study, found, tmp_path / "store")
    assert list(drawn) == ["fid"] and len(drawn["fid"]) == 12
    gone = next(iter(found.runs.values()))
    shutil.rmtree(tmp_path / "store" / gone.artefacts["evaluate"])
    assert scores_of(gone, tmp_path / "store") == []
    assert len(curves_of(study, found, tmp_path / "store")["fid"]) == 12  # the other seed is still there
