"""Cost against AUROC: which scores no cheaper one exceeds, and what the panel shows."""

from dataclasses import replace

import pytest

from genuq.leaderboard.figures import cost_figures, cost_panels, described, frontier, panels_of
from genuq.leaderboard.rows import statistics
from genuq.leaderboard.sheets import settings_of
from support.made_board import board, sets


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    declared = board(tmp_path_factory.mktemp("board"))
    (one,) = settings_of(statistics(sets(), declared), declared)
    return one


def test_the_front_is_what_no_cheaper_score_exceeds(setting) -> None:
    (_, rows), _ = panels_of(setting)
    front = frontier(rows)
    for row in rows:
        beaten = [one for one in rows if one.evaluations <= row.evaluations and one.auroc.value > row.auroc.value]
        assert (row in front) == (not beaten)
    oracle = replace(rows[0], kind="oracle", auroc=replace(rows[0].auroc, value=2.0), evaluations=0.0)
    assert frontier([*rows, oracle]) == front


def test_a_panel_for_each_fault(setting) -> None:
    figures = cost_figures([setting])
    assert list(figures) == ["cost-glyphs-ode"]
    axes = figures["cost-glyphs-ode"].axes
    assert [one.get_title(loc="left") for one in axes] == ["Broken", "Rule broken"]
    dots = {
        (line.get_xdata()[0], line.get_ydata()[0]) for line in axes[0].lines if line.get_marker() not in ("", "None")
    }
    (head, rows), _ = panels_of(setting)
    assert {(row.evaluations, row.auroc.value) for row in rows} <= dots
    panels = cost_panels(setting, 0)
    assert len(panels) == 2 and "<svg" in panels[0].svg
    assert "Renoised disagreement" in described(rows, head) and "16.0 evaluations" in described(rows, head)
