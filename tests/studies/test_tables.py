"""`genuq table` writes what a study declares, and says which runs are missing until none is."""

from __future__ import annotations

from pathlib import Path

from genuq.studies.tables import tabulate
from support.made_study import declare, make_runs


def test_tables_and_figures_are_written_and_missing_runs_listed(tmp_path: Path) -> None:
    make_runs(tmp_path / "store", seeds=2, curves=True)
    folder, out = declare(tmp_path / "study", curves=["fid"]), tmp_path / "out"
    paths = tabulate(folder, tmp_path / "store", out, figures=False)
    assert [path.name for path in paths] == ["table.md", "table.tex", "table.csv", "missing.txt"]
    assert all(path.read_text() for path in paths)
    assert len((out / "missing.txt").read_text().splitlines()) == 12
    make_runs(tmp_path / "store", seeds=3)
    paths = tabulate(folder, tmp_path / "store", out)
    assert not (out / "missing.txt").exists()
    drawn = [path.name for path in paths[3:]]
    assert drawn and all(path.stat().st_size > 0 for path in paths)
    assert {Path(name).suffix for name in drawn} == {".svg", ".pdf"}
