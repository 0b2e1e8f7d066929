"""Which samples of a set count for a fault, and which controls a score is held against."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from genuq.analysis import Undefined
from genuq.leaderboard.cut import Cut
from support.made_board import board, scored


def test_samples_with_other_faults_alone_and_those_left_out_do_not_count(tmp_path: Path) -> None:
    one = scored()
    outside = np.arange(len(one.valid)) % 3 == 0
    cut = Cut(replace(one, left_out=outside), "broken", board(tmp_path))
    np.testing.assert_array_equal(cut.rows_N, one.faults["broken"] | (one.valid & ~outside))
    np.testing.assert_array_equal(cut.bad_N, one.faults["broken"][cut.rows_N])


def test_a_difference_is_that_of_the_aurocs_of_the_same_replicates(tmp_path: Path) -> None:
    one = scored()
    cut = Cut(one, "broken", board(tmp_path, directions={"jitter": "lower"}))
    aurocs = [
        roc_auc_score(cut.bad_N, sign * one.columns[name].values[cut.rows_N])
        for name, sign in (("lid", 1), ("jitter", -1))
    ]
    found = cut.difference("lid", "jitter")
    assert found.value == pytest.approx(aurocs[0] - aurocs[1], abs=1e-12)
    expected_R = cut.auroc("lid").replicates_R - cut.auroc("jitter").replicates_R
    np.testing.assert_array_equal(found.replicates_R, expected_R)


def test_controls_are_held_against_scores_that_cost_as_much_or_more(tmp_path: Path) -> None:
    cut = Cut(scored(), "broken", board(tmp_path))
    assert cut.cheaper_controls("renoised_disagreement") == ["random", "lid"]
    assert cut.cheaper_controls("entropy") == ["random", "jitter", "lid"]
    assert [name for name in ("entropy", "lid", "random") if cut.is_control(name)] == ["lid", "random"]


def test_without_a_bad_sample_there_is_no_auroc_and_no_difference(tmp_path: Path) -> None:
    one = scored()
    sound = Cut(replace(one, faults={"broken": np.zeros_like(one.valid)}), "broken", board(tmp_path))
    assert isinstance(sound.auroc("lid"), Undefined) and isinstance(sound.difference("lid", "jitter"), Undefined)
