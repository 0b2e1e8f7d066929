"""The numbers of a run that a logger shows: those of its evaluation, and the scale of its posterior."""

from __future__ import annotations

from genuq.analysis.evaluation_entries import Evaluation
from genuq.analysis.numbers import numbers_of
from genuq.pipeline.run import MAIN_POSTERIOR, Run
from genuq.pipeline.stage import STAGES


def evaluation_numbers(run: Run, evaluation: Evaluation) -> dict[str, float]:
    """Those of the study's record, `entropy/auroc`, and of the own posterior's scale, `posterior/temperature`."""
    scale = STAGES["fit"].folder(run).notes()["posteriors"][MAIN_POSTERIOR]["scale"]
    numbers = {f"posterior/{key}": float(value) for key, value in scale.items() if isinstance(value, int | float)}
    return numbers_of(evaluation) | numbers
