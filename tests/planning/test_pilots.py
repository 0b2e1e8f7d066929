"""Plans with a pilot: at most the budget before it has chosen, and what it chose afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from genuq.planning.costs import work_of
from genuq.planning.pilots import budget_words, full_scores, planned_scores, planned_setting
from support.planned_runs import planned
from support.small_runs import EXACT, copied, launch

BUDGET = [
    *EXACT,
    "score=path_disagreement",
    "score.path_points=[0.2,1.0]",
    "score.controls=[random]",
    "stages=[fit,pilot,sample]",
    "score.budget=1.4",
    "score.pilot=16",
]


def test_the_budget_is_planned_and_then_what_was_chosen(exact_run: Path, tmp_path: Path) -> None:
    folder = copied(exact_run, tmp_path / "exact")
    run = planned(folder, *BUDGET)
    setting, cost, chosen = planned_setting(run)
    assert not chosen and cost == 1 + 2 / 6 and len(setting["points"]) * setting["members"] == 2
    assert "a pilot of 16 samples chooses among 6 settings; at most 1.33 of plain sampling" in budget_words(run)
    assert full_scores(run)["path_disagreement"].options == {"points": [0.2, 1.0], "members": 2}
    assert planned_scores(run, "path")["path_disagreement"].options == setting
    launch(folder, *BUDGET)
    after = planned(folder, *BUDGET)
    setting, cost, chosen = planned_setting(after)
    assert chosen and "which the pilot has chosen" in budget_words(after)
    assert work_of(after, "pilot").evaluations == {"sampling": (16 * 6, 0), "pilot": (16 * 4, 0)}
    assert sum(work_of(after, "sample").evaluations["all path scores"]) == pytest.approx(60 * 6 * (cost - 1))


def test_without_a_pilot_all_of_the_work_is_planned(tmp_path: Path) -> None:
    run = planned(tmp_path, *(text for text in BUDGET if not text.startswith("score.budget")))
    assert budget_words(run) is None
    assert planned_scores(run, "path")["path_disagreement"].options == {"points": [0.2, 1.0]}
