"""A leaderboard as Markdown, LaTeX and CSV."""

import csv as reader
import io
from dataclasses import replace

import pytest

from genuq.leaderboard.rows import statistics
from genuq.leaderboard.tables import COLUMNS, costs, csv, latex, markdown, missing_markdown
from support.made_board import board, sets


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    declared = board(tmp_path_factory.mktemp("board"), title="Made & <b>")
    return statistics(sets(), declared), declared


def test_markdown_says_question_answer_and_tables(made) -> None:
    text = markdown(*made, ["genuq leaderboard made --data x"])
    assert text.startswith("# Made & \\<b>\n\nDoes it?\n\n**1 of 3 declared comparisons hold")
    assert text.index("## Glyphs, Euler") < text.index("### AUROC") < text.index("### Adds to the controls")
    (line,) = [line for line in text.split("### Adds")[0].splitlines() if line.startswith("| Renoised")]
    one = next(row for row in made[0].rows if row.score == "renoised_disagreement")
    assert f"| 16 | 0.010 s | **{one.auroc.value:.3f} [{one.auroc.low:.3f}, {one.auroc.high:.3f}]** |" in line
    assert text.rstrip().endswith("genuq leaderboard made --data x\n```")
    assert missing_markdown([]) == ""


def test_latex_has_a_table_for_each_measure_with_nothing_that_acts(made) -> None:
    text = latex(*made)
    assert text.count("\\begin{table}") == text.count("\\end{table}") == 4
    assert "\\label{tab:leaderboard-made-glyphs-ode-auroc}" in text
    assert "Renoised disagreement & $16$ & {\\boldmath$0." in text


def test_csv_has_all_rows_in_full(made) -> None:
    found, _ = made
    rows = list(reader.DictReader(io.StringIO(csv(found))))
    assert len(rows) == len(found.rows) + len(found.by_seed) == 30 and tuple(rows[0]) == COLUMNS
    first = found.rows[0]
    assert float(rows[0]["auroc"]) == first.auroc.value and rows[0]["seed"] == ""
    assert {row["seed"] for row in rows} == {"", "0", "1"}
    assert rows[0]["gain_controls"] == "lid" and rows[0]["best_control"]


def test_names_are_no_formulas(made) -> None:
    found = replace(made[0], rows=(replace(made[0].rows[0], label="=1+1"),), by_seed=())
    assert "'=1+1" in csv(found)


def test_costs() -> None:
    assert costs(4.0, None) == ("4", "–") and costs(1234.5678, 2.0) == ("1,235", "2 s")
