"""Installed packages that bring parts."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from genuq.parts import entry_points

Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs entry points: names with what loading them gives, or an error that it raises."""

    def installed(**points: Any) -> None:
        made = [entry_point(name, loaded) for name, loaded in points.items()]
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: made if group == "genuq.parts" else [])
        entry_points.installed.cache_clear()

    yield installed
    monkeypatch.undo()
    entry_points.installed.cache_clear()


def entry_point(name: str, loaded: Any) -> Any:
    def load() -> Any:
        if isinstance(loaded, Exception):
            raise loaded
        return loaded

    return SimpleNamespace(
        name=name, value=f"my_lab:{name}", load=load, dist=SimpleNamespace(name="my-lab", version="1.2")
    )
