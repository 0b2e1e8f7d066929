"""The benchmark of tables makes studies that are whole, and measures the command itself."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from genuq.bench.tables import SEEDS, make_study, measured, peak_resident, run, table
from genuq.cli.bench import parser
from genuq.cli.table import main
from genuq.errors import GenuqError


def test_every_run_of_the_made_up_study_is_found(tmp_path):
    assert make_study(tmp_path, 20) == 20
    main([str(tmp_path), "--store", str(tmp_path / "store")])
    lines = list(csv.DictReader((tmp_path / "table.csv").open()))
    assert {line["n"] for line in lines} == {str(SEEDS)} and len(lines) == 2 * 2 * 3
    assert not (tmp_path / "missing.txt").exists()
    assert (tmp_path / "figure-retention-fid.svg").exists()


@pytest.mark.slow
def test_memory_is_that_of_the_process_at_its_largest():
    before = peak_resident()
    held = np.ones(before // 8 + 5_000_000)  # more than was ever resident
    assert peak_resident() >= held.nbytes > before


@pytest.mark.slow
def test_records_say_what_the_command_took():
    records = run(parser().parse_args(["tables", "--runs", "10", "--samples", "2000"]))
    assert [record["case"] for record in records] == [
        "tables of 10 runs",
        "tables and figures of 10 runs",
        "a score table of 2,000 samples, filtered and drawn",
    ]
    assert all(record["peak_bytes"] > 5e7 and record["cpu_seconds"] > 0.1 for record in records)
    assert table(records).count("\n| ") == 3


def test_a_failure_of_the_command_is_one_of_the_benchmark(tmp_path, capfd):
    with pytest.raises(GenuqError, match="failed"):
        measured([str(tmp_path / "nowhere")])
    assert "study.yaml does not exist" in capfd.readouterr().err
