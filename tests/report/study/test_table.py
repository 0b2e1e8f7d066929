"""The best of a column and its ties: never a claim that the intervals do not carry."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from genuq.analysis.seeds import Reading
from genuq.report.drawing.vocabulary import measure_of
from genuq.report.study.table import Measure, cell_of, cells_of
from support.made_table import AUROC, COLUMNS, FID, READINGS, ROWS, make_table, of_seeds


def marks(readings: list[dict], better: str | None = "higher") -> list[str]:
    """Marks of the settings of one column."""
    measure = Measure("m", "m", better)
    rows = [(str(nth),) for nth in range(len(readings))]
    given = {(row, "", "m"): entry for row, entry in zip(rows, readings)}
    expected = {(row, ""): 3 for row in rows}
    ids = {place: {str(seed): str(seed) for seed in range(50)} for place in expected}
    found = cells_of(given, ids, expected, [measure])
    return [found[row, "", "m"].mark for row in rows]


def test_the_best_mean_is_best_and_what_is_shown_to_be_worse_is_not_bold():
    assert marks([of_seeds(0.50, 0.51, 0.52), of_seeds(0.60, 0.61, 0.62)]) == ["", "best"]
    assert marks([of_seeds(0.50, 0.51, 0.52), of_seeds(0.60, 0.61, 0.62)], "lower") == ["best", ""]


def test_a_difference_whose_interval_holds_zero_is_a_tie():
    assert marks([of_seeds(0.5, 0.7, 0.6), of_seeds(0.61, 0.6, 0.62)]) == ["tie", "best"]


def test_pairing_over_seeds_tells_apart_what_overlapping_intervals_do_not():
    """Each seed moves both by much: their own intervals overlap almost wholly, their difference is constant."""
    seeds = np.array([0.3, 0.5, 0.9])
    lower, upper = of_seeds(*seeds), of_seeds(*np.add(seeds, [0.05, 0.051, 0.049]))
    assert marks([lower, upper]) == ["", "best"]
    assert marks([of_seeds(*seeds, first=10), upper]) == ["tie", "best"]


@pytest.mark.parametrize("seed", range(30))
def test_a_tie_is_what_the_paired_test_at_five_percent_does_not_reject_on_the_worse_side(seed):
    source = np.random.default_rng(seed)
    values = source.normal(0, 1, (4, 5)) + source.normal(0, 1.5, (4, 1))
    found = marks([of_seeds(*row) for row in values])
    best = int(values.mean(1).argmax())
    for nth, row in enumerate(values):
        if nth == best:
            assert found[nth] == "best"
        else:
            rejected = stats.ttest_rel(values[best], row).pvalue < 0.05
            assert found[nth] == ("" if rejected else "tie")


def test_single_runs_tie_by_their_own_intervals_and_without_any_only_the_best_is_bold():
    close, far = {"0": Reading(0.6, 0.5, 0.7)}, {"0": Reading(0.2, 0.1, 0.3)}
    assert marks([{"0": Reading(0.65, 0.55, 0.75)}, close, far]) == ["best", "tie", ""]
    assert marks([{"0": Reading(0.65)}, {"0": Reading(0.64)}]) == ["best", ""]


def test_nothing_is_bold_without_a_direction_or_a_rival():
    assert marks([of_seeds(1, 2), of_seeds(3, 4)], better=None) == ["", ""]
    assert marks([of_seeds(1, 2), {}]) == ["", ""]


def test_equal_settings_tie():
    assert sorted(marks([of_seeds(0.5, 0.6), of_seeds(0.5, 0.6)])) == ["best", "tie"]


def test_columns_and_measures_do_not_compete():
    table = make_table()
    for column, measure in itertools.product(COLUMNS, (AUROC, FID)):
        best = [row for row in ROWS if table.cell(row, column, measure).mark == "best"]
        assert len(best) == (0 if (column, measure) == ("semantic", FID) else 1)


def test_the_best_is_sought_within_a_key():
    table = make_table(within=("posterior",))
    found = {row: table.cell(row, "pixel", AUROC).mark for row in ROWS}
    assert found[ROWS[1]] == ""  # alone with its posterior
    assert sorted([found[ROWS[0]], found[ROWS[2]]]) == ["best", "tie"]


def test_an_interval_of_a_cell_ends_at_the_bounds_of_its_measure():
    bounds = measure_of("entropy/auroc").bounds
    found = cell_of(
        Measure("auroc", "AUROC", bounds=bounds), {"0": Reading(0.99), "1": Reading(0.1)}, {"0": "", "1": ""}, 2
    )
    assert (found.estimate.low, found.estimate.high) == (0.0, 1.0)


def test_a_cell_knows_its_runs_and_how_many_there_should_be():
    table = make_table()
    cell = table.cell(ROWS[0], "semantic", AUROC)
    assert (cell.estimate.n, cell.expected, len(cell.runs)) == (2, 3, 2)
    assert cell.estimate.mean == pytest.approx(0.71)
    nothing = table.cell(ROWS[1], "semantic", FID)
    assert (nothing.estimate, nothing.expected, nothing.runs) == (None, 3, ())
    assert len(READINGS) < len(table.cells) == 12
