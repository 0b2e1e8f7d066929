"""Settings of a score: every part of its work once, in an order that ends with all of it."""

from __future__ import annotations

import itertools

import pytest

from genuq.errors import ConfigurationError
from genuq.scores import SCORES
from genuq.scores.settings import MOST, full_setting, smaller_settings


def test_the_full_setting_has_the_scores_defaults_and_all_members() -> None:
    assert full_setting(SCORES.get("path_disagreement"), {}, 5) == {"points": [1.0], "members": 5}
    given = {"times": [0.2, 0.5], "noisings": 6, "members": 2}
    assert full_setting(SCORES.get("renoised_disagreement"), given, 5) == given
    assert full_setting(SCORES.get("guidance_gap"), {}, 5) == {"points": [0.4, 0.6]}


def test_all_parts_of_the_work_are_there_once() -> None:
    points = [0.1, 0.5, 1.0]
    found = smaller_settings(SCORES.get("path_disagreement"), {"points": points}, 3)
    subsets = [list(some) for size in (1, 2, 3) for some in itertools.combinations(points, size)]
    assert sorted(map(str, found)) == sorted(str({"points": p, "members": m}) for p in subsets for m in (1, 2, 3))
    assert found[-1] == {"points": points, "members": 3}


def test_nested_ones_hold_each_other() -> None:
    given = {"times": [0.3, 0.1], "noisings": 4, "members": 2}
    found = smaller_settings(SCORES.get("renoised_disagreement"), given, 5, nested=True)
    assert [one["times"] for one in found] == [[0.3]] * 4 + [[0.3, 0.1]] * 4
    assert {one["noisings"] for one in found} == {2, 4}  # in pairs
    assert found[-1] == given


def test_a_variance_over_draws_keeps_two_of_them_and_two_pairs() -> None:
    found = smaller_settings(SCORES.get("renoised_epistemic"), {"pairs": 3}, 3)
    assert {one["members"] for one in found} == {2, 3} and {one["pairs"] for one in found} == {2, 3}


@pytest.mark.parametrize("points", [12, 40])
def test_too_many_are_refused_before_they_are_made(points: int) -> None:
    given = {"points": [number / 100 for number in range(points)]}
    with pytest.raises(ConfigurationError, match=rf"score\.path_points .* at most {MOST:,} can be compared"):
        smaller_settings(SCORES.get("path_disagreement"), given, 2)
