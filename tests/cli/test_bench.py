"""`genuq bench`: one benchmark a sub-command, its table for people and its records as JSON."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from genuq import files
from genuq.cli import bench
from genuq.errors import GenuqError


def test_every_benchmark_has_what_the_command_needs() -> None:
    for name in bench.BENCHMARKS:
        benchmark = bench.module(name)
        assert benchmark.HELP and callable(benchmark.run) and callable(benchmark.table)
        assert bench.parser().parse_args([name, "--quick"]).quick


def test_the_table_is_printed_and_the_records_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = SimpleNamespace(
        HELP="help",
        configure=lambda parser: parser.add_argument("--cases", type=int, default=2),
        run=lambda chosen: [{"case": number} for number in range(chosen.cases)],
        table=lambda records: f"{len(records)} records",
    )
    monkeypatch.setattr(bench, "module", lambda name: made)
    out = tmp_path / "records.json"
    assert bench.main(["store", "--cases", "3", "--json", str(out)]) == 0
    assert capsys.readouterr().out == "3 records\n"
    assert files.read_json(out) == [{"case": 0}, {"case": 1}, {"case": 2}]


def test_where_nothing_can_be_written_nothing_is_measured(tmp_path: Path) -> None:
    with pytest.raises(GenuqError, match=r"there is no folder .*absent\. Make it first"):
        bench.main(["store", "--json", str(tmp_path / "absent" / "records.json")])
