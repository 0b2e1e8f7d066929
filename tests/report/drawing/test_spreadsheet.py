"""CSV that a program reads back and that a spreadsheet takes for text and numbers alone."""

from __future__ import annotations

import csv
import io

import pytest

from genuq.report.drawing.spreadsheet import cell, csv_records, csv_table


@pytest.mark.parametrize("text", ["=1+1", "@SUM(1)", "+a", "-a", "\t=1", "\r=1", "=", "-"])
def test_text_that_looks_like_a_formula_is_marked_as_text(text: str) -> None:
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize(
    "value", ["a=1", "", "-0.5", "+3", "-1e-3", "-inf", "<b>&_%", -0.5, 3, True, None, float("nan")]
)
def test_everything_else_stays_as_it_is(value: object) -> None:
    assert cell(value) is value


def test_values_come_back() -> None:
    rows = [["name", "value"], ['a "b", c\nd', -0.1], ["=1", None]]
    assert list(csv.reader(io.StringIO(csv_table(rows)))) == [rows[0], [rows[1][0], "-0.1"], ["'=1", ""]]
    assert csv_records(["a", "b"], [{"b": 1}, {"a": 2, "b": 3}]) == "a,b\n,1\n2,3\n"
