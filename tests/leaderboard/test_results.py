"""What the leaderboard is made from."""

from __future__ import annotations

from genuq.leaderboard.results import Condition


def test_a_condition_has_its_own_folder() -> None:
    assert Condition("glyphs", "euler", 2).folder == "glyphs/euler/seed_2"
