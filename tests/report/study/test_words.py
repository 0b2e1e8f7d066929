"""The words and numbers of a study's table."""

from __future__ import annotations

from genuq.report.study.words import places_of


def test_every_number_of_the_largest_size_has_three_significant_digits():
    assert [places_of([value]) for value in (0.612, -8.4, 62.5, 1234, 0.00123, 0.0)] == [3, 2, 1, 0, 5, 2]
    assert places_of([]) == 2
