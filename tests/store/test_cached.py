"""Files that many artefacts hold are made once, and forgotten with the last of them."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from genuq import files
from genuq.store.cached import REFERENCES, forget_unheld, held, same_file


def test_a_file_has_a_second_name_or_where_there_is_none_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError("no links here")

    source, target = tmp_path / "source", tmp_path / "folder" / "target"
    source.write_text("first")
    same_file(source, target)
    assert target.samefile(source)
    monkeypatch.setattr(os, "link", refused)
    same_file(source, target)
    assert target.read_text() == "first" and not target.samefile(source)
    assert [path.name for path in target.parent.iterdir()] == ["target"]


def hold(store: Path, place: str, made: list[str], identity: str = "x", content: str = "content") -> str:
    def make(path: Path) -> None:
        made.append(place)
        files.write_text(path, content)

    held(store, {"of": identity}, store / place, make, lambda: None)
    return (store / place).read_text()


def test_it_is_made_for_the_first_that_needs_it(tmp_path: Path) -> None:
    made: list[str] = []
    assert [hold(tmp_path, f"embed/{name}/real", made) for name in "abc"] == ["content"] * 3
    assert made == ["embed/a/real"] and hold(tmp_path, "embed/d/real", made, "y", "other") == "other"
    assert (tmp_path / "embed/a/real").samefile(tmp_path / "embed/c/real")


def test_one_that_was_altered_is_made_again_and_disturbs_nobody(tmp_path: Path) -> None:
    made: list[str] = []
    hold(tmp_path, "embed/a/real", made)
    (tmp_path / "embed/a/real").write_text("altered")  # the artefact's own check names that
    assert hold(tmp_path, "embed/b/real", made) == "content" and len(made) == 2
    for path in (tmp_path / REFERENCES).glob("*.json"):
        path.write_text("{")
    assert hold(tmp_path, "embed/c/real", made) == "content" and len(made) == 3


def test_of_many_that_need_it_at_once_one_makes_it(tmp_path: Path) -> None:
    made: list[str] = []
    threads = [threading.Thread(target=hold, args=(tmp_path, f"embed/{n}/real", made)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and len(list(tmp_path.glob("embed/*/real"))) == 6


def test_what_no_artefact_holds_is_forgotten(tmp_path: Path) -> None:
    for name in "ab":
        hold(tmp_path, f"embed/{name}/real", [], identity=name)
    (tmp_path / "embed/a/real").unlink()
    forget_unheld(tmp_path)
    assert len(list((tmp_path / REFERENCES).iterdir())) == 2 and (tmp_path / "embed/b/real").exists()
