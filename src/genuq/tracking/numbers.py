"""The numbers of an evaluation, as trackers name them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genuq.analysis.numbers import numbers_of
from genuq.pipeline.posteriors import MAIN_POSTERIOR
from genuq.pipeline.run import Run
from genuq.pipeline.stage import STAGES


def evaluation_numbers(run: Run, evaluation: Mapping[str, Any]) -> dict[str, float]:
    """Those of the study's record, `entropy/auroc`, and of the own posterior's scale, `posterior/temperature`."""
    scale = STAGES["fit"].folder(run).notes()["posteriors"][MAIN_POSTERIOR]["scale"]
    numbers = {f"posterior/{key}": float(value) for key, value in scale.items() if isinstance(value, int | float)}
    return numbers_of(evaluation) | numbers
