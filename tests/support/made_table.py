"""A study's table for the tests, from readings that they give."""

from __future__ import annotations

from typing import Any

from genuq.analysis.seeds import Reading
from genuq.report.study.table import Measure, StudyTable, cells_of

AUROC = Measure("entropy/auroc", "AUROC", "higher")
FID = Measure("fid", "FID", "lower", 1)
ROWS = (("ddpm", "kfac"), ("ddpm", "swag"), ("flow_matching", "kfac"))
COLUMNS = ("pixel", "semantic")


def of_seeds(*values: float, first: int = 0) -> dict[str, Reading]:
    return {str(first + seed): Reading(value) for seed, value in enumerate(values)}


READINGS = {
    (ROWS[0], "pixel", AUROC.name): of_seeds(0.60, 0.62, 0.61),
    (ROWS[0], "semantic", AUROC.name): of_seeds(0.70, 0.72),
    (ROWS[1], "pixel", AUROC.name): of_seeds(0.50, 0.51, 0.53),
    (ROWS[1], "semantic", AUROC.name): {"0": Reading(0.69, 0.60, 0.75)},
    (ROWS[2], "pixel", AUROC.name): of_seeds(0.59, 0.63, 0.60),
    (ROWS[0], "pixel", FID.name): of_seeds(1234.5, 1234.7, 1234.9),
    (ROWS[1], "pixel", FID.name): {"0": Reading(1200.0)},
}


def make_table(readings: dict | None = None, within: tuple[str, ...] = (), **changes: Any) -> StudyTable:
    """Three seeds are expected everywhere, but none of flow matching with semantic."""
    given = READINGS if readings is None else readings
    keys, measures = ("model", "posterior"), (AUROC, FID)
    expected = {(row, column): 3 for row in ROWS for column in COLUMNS} | {(ROWS[2], "semantic"): 0}
    every = {
        (*place, measure.name): given.get((*place, measure.name), {}) for place in expected for measure in measures
    }
    ids = {place: {seed: f"{hash(place) % 997:x}{seed}" for seed in "0123456789"} for place in expected}
    entry = {
        "name": "posteriors",
        "title": "Posteriors",
        "question": "Which finds the bad samples?",
        "commands": ("genuq -m model=ddpm,flow_matching",),
        "keys": keys,
        "column": "likelihood",
        "rows": ROWS,
        "columns": COLUMNS,
        "measures": measures,
        "cells": cells_of(every, ids, expected, measures, [keys.index(key) for key in within]),
        "within": within,
        "expected": 15,
        "missing": ("genuq model=ddpm seed=1", "genuq model=ddpm seed=2"),
    }
    return StudyTable(**entry | changes)
