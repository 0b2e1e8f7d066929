"""A further process: it works on what standard input says, and tells its errors by its number."""

from __future__ import annotations

import io
import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from genuq.cli import worker
from genuq.errors import ConfigurationError


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task on standard input, and no thread that waits for its end."""
    text = json.dumps({"config": {"seed": 3}, "folder": "some/run", "command": "genuq seed=3"})
    monkeypatch.setattr(worker.sys, "stdin", io.StringIO(f"{text}\n"))
    monkeypatch.setattr(threading, "Thread", lambda **_: SimpleNamespace(start=lambda: None))
    monkeypatch.setattr(worker.machine, "prepare", lambda: None)


@pytest.mark.usefixtures("task")
def test_it_executes_its_task(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[Any, ...]] = []
    monkeypatch.setattr(worker.execute, "execute", lambda *given, tracker: done.append(given))
    worker.main()
    assert done == [({"seed": 3}, Path("some/run"), "genuq seed=3")]


@pytest.mark.usefixtures("task")
@pytest.mark.parametrize(
    ("error", "code"),
    [(ConfigurationError("seed = 3"), "error in process 2: seed = 3"), (KeyboardInterrupt(), 130)],
)
def test_an_error_ends_it_under_its_number(
    error: BaseException, code: str | int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(worker.execute, "execute", fails)
    monkeypatch.setattr(worker, "number", lambda: 2)
    with pytest.raises(SystemExit) as ended:
        worker.main()
    assert ended.value.code == code


def test_it_ends_with_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    left, ends = [b"x", b"y", b""], []
    monkeypatch.setattr(worker.os, "read", lambda where, count: left.pop(0))
    monkeypatch.setattr(worker.os, "_exit", ends.append)
    monkeypatch.setattr(worker.collectives, "_leaving", threading.Event())  # this process goes on
    worker.end_with_input()
    assert ends == [1] and not left
