"""`genuq study`: it writes the page where it says, and names a study that there is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from genuq.cli import main as app
from genuq.cli.study import main
from genuq.store.records import read_records


@pytest.fixture(scope="module")
def study(points_run: Path) -> str:
    (record,) = read_records(points_run / "store")
    return record.study


def test_the_command_writes_where_it_says(
    study: str, points_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("outputs").mkdir()
    Path("outputs/store").symlink_to(points_run / "store")
    assert main([study]) == 0
    assert f"Open outputs/studies/{study}/index.html" in capsys.readouterr().out
    page = Path(f"outputs/studies/{study}/index.html").read_text()
    assert f"<code>genuq study {study}</code>" in page and page.count("<tr data-run=") == 1


def test_genuq_dispatches_the_command(
    study: str, points_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--store", str(points_run / "store"), "--out", str(tmp_path / "page.html")]
    assert app.subcommand("study", [f"{study}d", *where]) == app.REFUSED
    assert f"Did you mean '{study}'" in capsys.readouterr().err
    assert app.subcommand("study", [study, *where]) == 0 and (tmp_path / "page.html").is_file()
