"""Where a run's configuration comes from."""

from __future__ import annotations

from genuq.config.job import without_none


def test_a_group_of_which_none_was_chosen_is_as_if_left_out() -> None:
    chosen = {
        "propagator": "none",
        "application": None,
        "experiment": "none",
        "logger": "none",
        "hydra/launcher": "basic",
    }
    assert without_none(chosen) == {"propagator": None, "application": None, "experiment": None, "logger": "none"}
