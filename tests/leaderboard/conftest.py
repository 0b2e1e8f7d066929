"""A finished run whose data have an oracle, and its saved set; made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from genuq.leaderboard.saved import SavedSet
from support.saved_sets import RUN
from support.small_runs import launch


@pytest.fixture(scope="session")
def board_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the run. Tests copy it before they change anything."""
    folder = tmp_path_factory.mktemp("board") / "run"
    launch(folder, *RUN)
    return folder


@pytest.fixture(scope="session")
def board_set(board_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of its set. Tests copy it before they change anything; they may score it."""
    return SavedSet.write(board_run, tmp_path_factory.mktemp("board") / "set").folder
