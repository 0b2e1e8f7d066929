"""`genuq parts`: everything that a configuration can name, with where it comes from and what its options mean."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from genuq.cli.main import REFUSED, subcommand
from genuq.cli.parts import options_of
from genuq.parts import GROUPS, entry_points, register_of
from genuq.posteriors import PosteriorPart
from genuq.scores import ScorePart


@pytest.fixture
def plugged_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Entry points of my-lab: one that works, one that cannot be loaded, a clash, and a part that is not there."""
    loaded: dict[str, Any] = {
        "narrow": PosteriorPart(name="narrow", target="support.my_lab_parts:Narrow", description="A narrow one."),
        "torn": ImportError("no module named fft_lab"),
        "entropy": ScorePart(name="entropy", target="support.my_lab_parts:spread"),
        "gone": PosteriorPart(name="gone", target="support.my_lab_parts:Gone"),
    }

    def load(value: Any) -> Any:
        if isinstance(value, Exception):
            raise value
        return value

    lab = SimpleNamespace(name="my-lab", version="1.2")
    points = [
        SimpleNamespace(name=name, value=f"my_lab:{name}", dist=lab, load=lambda value=value: load(value))
        for name, value in loaded.items()
    ]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points if group == "genuq.parts" else [])
    entry_points.installed.cache_clear()
    yield
    monkeypatch.undo()
    entry_points.installed.cache_clear()


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert subcommand("parts", arguments) == 0
    return capsys.readouterr().out


def test_every_part_is_listed_with_where_it_comes_from(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(said(capsys, "--json"))["parts"]
    assert {group: [part["name"] for part in parts] for group, parts in found.items()} == {
        group: list(register_of(group)) for group in GROUPS
    }
    assert all(part["from"] == "genuq" and part["label"] for parts in found.values() for part in parts)
    text = said(capsys)
    assert all(f"{group} ({len(found[group])})" in text for group in GROUPS)


def test_installed_parts_and_those_that_are_broken(plugged_in: None, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys)
    row = next(line for line in text.splitlines() if line.strip().startswith("narrow "))
    assert "my-lab 1.2" in row and "A narrow one." in row
    broken = {each["name"]: each["reason"] for each in json.loads(said(capsys, "--json"))["broken"]}
    assert list(broken) == ["torn", "gone", "entropy"]
    assert "fft_lab" in broken["torn"] and "genuq itself has a score" in broken["entropy"]
    assert "has no attribute 'Gone'" in broken["gone"]
    assert all(f"'{name}' of the installed package my-lab 1.2 cannot be used" in text for name in broken)


def test_one_group_alone(plugged_in: None, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "posterior")
    assert "posterior (13)" in text and "score (" not in text and "'gone'" in text and "'entropy'" not in text


def test_options_have_their_types_defaults_and_words(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(said(capsys, "solver", "ddim", "--json"))
    assert Path(found["file"]).name == "first_order.py" and found["target"] == "genuq.solvers.first_order:DDIM"
    (eta,) = found["options"]
    words = "0 is deterministic, 1 is DDPM's ancestral sampler."
    assert eta == {"name": "eta", "type": "float", "needed": False, "default": 0.0, "words": words}
    text = said(capsys, "solver", "ddim")
    assert "DDIM" in text and "eta" in text and "0.0" in text
    assert "It has no options." in said(capsys, "solver", "euler")


def test_words_of_applications_and_of_functions_and_what_else_is_to_know(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["name"]: row for row in json.loads(said(capsys, "application", "filter", "--json"))["options"]}
    assert (
        rows["threshold"]["words"] == "the highest score that is kept." and rows["fraction"]["type"] == "float | None"
    )
    rows = {row["name"]: row for row in json.loads(said(capsys, "data", "gaussian_mixture", "--json"))["options"]}
    assert rows["modes"]["default"] == 8 and rows["size"]["words"] == "number of points." and "split" not in rows
    assert "Kind: control." in said(capsys, "score", "complexity")
    assert "Lower is better." in said(capsys, "metric", "fid") and "Higher" in said(capsys, "metric", "recall")


def test_every_option_of_genuqs_own_parts_has_words(capsys: pytest.CaptureFixture[str]) -> None:
    parts = [part for group in GROUPS for part in register_of(group).values()]
    mute = [
        f"{part.group} {part.name}.{each['name']}" for part in parts for each in options_of(part) if not each["words"]
    ]
    assert mute == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["postrior"], "no parts called 'postrior'. Did you mean 'posterior'"),
        (["posterior", "kfca"], "'kfca' does not exist. Did you mean 'kfac'"),
        (["new", "posterior", "kfac"], "'kfac' exists already"),
    ],
)
def test_mistakes_end_with_status_2(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert subcommand("parts", arguments) == REFUSED
    assert words in " ".join(capsys.readouterr().err.split())


def test_new_writes_a_package_and_says_how_to_try_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "new", "score", "reach", "--out", str(tmp_path / "lab"))
    written = sorted(path.relative_to(tmp_path / "lab" / "reach") for path in (tmp_path / "lab").rglob("*.*"))
    assert [str(path) for path in written] == [
        "README.md",
        "pyproject.toml",
        "src/genuq_reach/__init__.py",
        "src/genuq_reach/reach.py",
        "tests/test_reach.py",
    ]
    assert f"pip install -e {tmp_path / 'lab' / 'reach'}" in text
