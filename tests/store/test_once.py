"""An artefact is made once, by whoever comes first, and what was found is looked at."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from genuq import files
from genuq.display import Display
from genuq.errors import ArtefactError
from genuq.store import artefact
from genuq.store.artefact import StageFolder
from genuq.store.once import make_once


@pytest.fixture
def display() -> Display:
    return Display(Console(file=io.StringIO(), width=200))


def make(folder: StageFolder, work: Callable[[], Mapping[str, Any]], display: Display) -> bool:
    """Whether it was made now."""
    with make_once(folder, "x", display) as making:
        if making.here:
            making.notes = work()
    return making.here


def told(display: Display) -> str:
    return display.console.file.getvalue()  # type: ignore[attr-defined]


def test_it_is_made_then_found(tmp_path: Path, display: Display) -> None:
    folder, made = StageFolder.in_store(tmp_path, {"stage": "x"}), []

    def work() -> dict[str, int]:
        made.append(1)
        files.write_text(folder.path / "file", "content")
        return {"note": len(made)}

    assert make(folder, work, display) and not make(folder, work, display)
    assert made == [1] and folder.notes() == {"note": 1}
    assert "x: already done, reused" in told(display)


def test_one_that_waits_for_another_finds_what_that_has_made(
    tmp_path: Path, display: Display, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, entered, leave = StageFolder.in_store(tmp_path, {"stage": "x"}), threading.Event(), threading.Event()
    monkeypatch.setattr(artefact, "PATIENCE", 0.01)

    def work() -> dict[str, int]:
        entered.set()
        assert leave.wait(60)
        return {}

    other = threading.Thread(target=make, args=(folder, work, Display(Console(quiet=True))))
    other.start()
    assert entered.wait(60)
    threading.Timer(0.2, leave.set).start()
    assert not make(folder, lambda: pytest.fail("made twice"), display)
    other.join()
    assert "x: another run is making it; waiting" in told(display)


def test_a_failure_leaves_it_to_be_made_again(tmp_path: Path, display: Display) -> None:
    folder = StageFolder.in_store(tmp_path, {"stage": "x"})

    def fail() -> dict[str, int]:
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        make(folder, fail, display)
    assert not folder.is_current() and make(folder, dict, display)


def test_a_broken_one_is_named(tmp_path: Path, display: Display) -> None:
    folder = StageFolder.in_store(tmp_path, {"stage": "x"})
    make(folder, lambda: files.write_text(folder.path / "file", "content") or {}, display)
    (folder.path / "file").write_text("changed")
    with pytest.raises(ArtefactError, match="file is truncated or was altered"):
        make(folder, dict, display)
