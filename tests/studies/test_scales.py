"""A study's tables and pages have runs of one scale, and those of another than the full one say so everywhere."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import pytest

from genuq.cli import study as study_command
from genuq.errors import ConfigurationError
from genuq.store.records import RunRecord, write_record
from genuq.studies.scales import chosen_scale, records_at, scales_in
from genuq.studies.tables import tabulate
from support.made_study import declare, make_runs

CELLS = 2 * 3 * 2 * 2  # models, posteriors, likelihoods, measures


def at_smoke(store: Path, runs: list[RunRecord]) -> None:
    for run in runs:
        changed = dataclasses.replace(run, study="posteriors@smoke", overrides=(*run.overrides, "scale=smoke"))
        write_record(store, changed)


@pytest.fixture
def smoked(tmp_path: Path) -> Path:
    """A store in which one study was run at scale=smoke alone."""
    at_smoke(tmp_path / "store", make_runs(tmp_path / "elsewhere", seeds=2, curves=True))
    return tmp_path / "store"


def test_where_only_smoke_ran_every_cell_is_marked_and_its_missing_runs_are_named(smoked: Path, tmp_path: Path) -> None:
    folder = declare(tmp_path / "study")
    paths = {path.name: path for path in tabulate(folder, smoked)}
    assert {path.parent for path in paths.values()} == {folder / "smoke"}
    page = paths["table.md"].read_text()
    assert page.startswith("# Posteriors side by side (scale=smoke: no result)")
    lines = [line for line in page.splitlines() if line.startswith("| ddpm") or line.startswith("| flow")]
    assert sum(line.count("smoke |") for line in lines) == CELLS and "**" not in "".join(lines)
    assert "**12 of 36 runs at scale=smoke are missing:**" in page and page.count("missing") == 2
    assert "At full scale 36 of 36 runs are missing; the commands above make them." in page
    assert paths["table.tex"].read_text().count(r"{\scriptsize smoke}") == CELLS
    rows = list(csv.DictReader(paths["table.csv"].read_text().splitlines()))
    assert len(rows) == CELLS and {(row["scale"], row["origin"], row["bold"]) for row in rows} == {
        ("smoke", "ours@smoke", "")
    }
    commands = paths["missing.txt"].read_text().splitlines()
    assert len(commands) == 12 and all("seed=2" in line and line.endswith(" scale=smoke") for line in commands)
    assert "12 of 36 runs at scale=smoke are missing." in paths["table.tex"].read_text()
    drawn = [path for name, path in paths.items() if name.endswith(".svg")]
    assert drawn and all(">scale=smoke: no result<" in path.read_text() for path in drawn)


def test_a_smoke_study_that_is_whole_misses_nothing_but_the_full_runs(tmp_path: Path) -> None:
    at_smoke(tmp_path / "store", make_runs(tmp_path / "elsewhere", seeds=3))
    folder = declare(tmp_path / "study")
    paths = tabulate(folder, tmp_path / "store", figures=False)
    page = paths[0].read_text()
    assert page.count("missing") == 1 and "At full scale 36 of 36 runs are missing" in page
    assert "missing.txt" not in [path.name for path in paths]
    make_runs(tmp_path / "store", seeds=3)
    assert "missing" not in tabulate(folder, tmp_path / "store", figures=False, scale="smoke")[0].read_text()


def test_runs_of_two_scales_never_stand_in_one_table(smoked: Path, tmp_path: Path) -> None:
    make_runs(smoked, seeds=1)
    assert scales_in(smoked, "posteriors") == ["full", "smoke"]
    folder = declare(tmp_path / "study")
    page = tabulate(folder, smoked, figures=False)[0]
    assert page == folder / "table.md"
    text = page.read_text()
    assert "smoke |" not in text and "24 of 36 runs are missing" in text
    assert "Runs at scale=smoke are left out" in text
    assert tabulate(folder, smoked, figures=False, scale="smoke")[0] == folder / "smoke" / "table.md"
    assert {record.study for record in records_at(smoked, "posteriors", "smoke")} == {"posteriors@smoke"}


def test_a_scale_without_runs_or_a_choice_between_two_is_asked_for(smoked: Path, tmp_path: Path) -> None:
    assert chosen_scale(tmp_path / "nowhere", "posteriors") == "full" == chosen_scale(smoked, "posteriors", "full")
    with pytest.raises(ConfigurationError, match=r"--scale smok: .* no runs at it.*smoke"):
        chosen_scale(smoked, "posteriors", "smok")
    for run in records_at(smoked, "posteriors", "smoke")[:1]:
        write_record(smoked, dataclasses.replace(run, study="posteriors@tiny"))
    with pytest.raises(ConfigurationError, match="has runs at smoke, tiny: choose one"):
        chosen_scale(smoked, "posteriors")


def test_the_page_of_such_a_study_is_marked(smoked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "index.html"
    for study in (str(declare(tmp_path / "study")), "posteriors"):
        assert study_command.main([study, "--store", str(smoked), "--out", str(out)]) == 0
        page = out.read_text()
        assert '<p class="no-result" role="note">scale=smoke: no result' in page and "posteriors@smoke" in page
