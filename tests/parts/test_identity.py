"""What identifies a part: its package's source, wherever that lies."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from genuq.parts import identity, register_of


def test_a_changed_package_has_another_identity_and_a_moved_one_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def known(place: str, content: str) -> str:
        folder = tmp_path / place / "my_lab_moved"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").write_text("from my_lab_moved.inner import dots\n")
        (folder / "inner.py").write_text("def dots(split): ...\n")
        (folder / "unread.py").write_text(content)
        for name in [name for name in sys.modules if name.startswith("my_lab_moved")]:
            del sys.modules[name]
        with monkeypatch.context() as patch:
            patch.syspath_prepend(tmp_path / place)
            part = register_of("data").type(name="dots", target="my_lab_moved.inner:dots")
            return identity(part)["sha256"]

    first = known("here", "x = 1\n")
    assert known("here", "x = 2\n") != first
    assert known(f"there{os.sep}deeper", "x = 1\n") == first
