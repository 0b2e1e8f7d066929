"""The words and numbers of a study's table."""

from __future__ import annotations

from genuq.analysis.seeds import Reading
from genuq.report.study.words import (
    CellText,
    cell_text,
    column_words,
    heading,
    key_words,
    legend,
    places,
    places_of,
    row_words,
    value_words,
)
from support.made_table import AUROC, FID, ROWS, make_table


def test_every_number_of_the_largest_size_has_three_significant_digits():
    assert [places_of([value]) for value in (0.612, -8.4, 62.5, 1234, 0.00123, 0.0)] == [3, 2, 1, 0, 5, 2]
    assert places_of([]) == 2


def test_a_cell_says_what_it_is_made_of():
    table = make_table()
    assert cell_text(table.cell(ROWS[0], "pixel", FID), 1) == CellText("1,234.7", "0.1", "", "3")
    assert cell_text(table.cell(ROWS[1], "semantic", AUROC), 3) == CellText("0.690", "", "[0.600, 0.750]", "1 of 3")
    assert cell_text(table.cell(ROWS[2], "semantic", AUROC), 3) is None
    assert (places(table, FID), places(table, AUROC)) == (FID.digits, 3)


def test_keys_and_values_are_words():
    assert value_words("posterior", "kfac") == value_words("+posterior@beside.x", "kfac") == "KFAC Laplace"
    assert value_words("model", "flow_matching") == "flow matching" and key_words("+sampler.steps") == "sampler steps"
    table = make_table()
    assert row_words(table, ROWS[2]) == ["flow matching", "KFAC Laplace"]
    assert column_words(table, "pixel") == "pixel" and column_words(make_table(column=None), "pixel") == ""
    assert (heading(AUROC), heading(FID)) == ("AUROC ↑", "FID ↓")


def test_the_legend_is_of_what_occurs():
    whole = " ".join(legend(make_table(within=("model",))))
    assert "within each model" in whole and "95 % interval in brackets" in whole and "no run has this number" in whole
    alone = {(ROWS[0], "pixel", AUROC.name): {"0": Reading(0.5)}}
    assert "A single seed without an interval stands alone." in legend(make_table(alone))
