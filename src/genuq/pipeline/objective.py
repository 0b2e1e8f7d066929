"""The number that a search is about, `objective`, of a finished run: one of the record's numbers."""

from __future__ import annotations

import math
from pathlib import Path

from omegaconf import DictConfig

from genuq.analysis.evaluation_entries import read_evaluation
from genuq.analysis.metrics import CURVES
from genuq.analysis.numbers import AUROC_OF, CLIP_SCORE, numbers_of
from genuq.errors import ArtefactError, ConfigurationError, did_you_mean
from genuq.pipeline.columns import score_columns
from genuq.pipeline.configured import test_set
from genuq.pipeline.run import Run

OF_A_SCORE = ("auroc", "within_classes", "adds", "ause", "spearman", "evaluations")
MEASURES = (*OF_A_SCORE, *(f"{metric}_gain" for metric in CURVES))  # of a column
OF_ALL_SAMPLES = (*CURVES, "sample_accuracy")


def check_objective(run: Run) -> None:
    """Raise ConfigurationError for an objective that no evaluation of this run can have."""
    name = run.config.objective
    if name is None:
        return
    if "evaluate" not in run.config.stages:
        raise ConfigurationError(f"objective = '{name}' is a number of the evaluation: add the stage evaluate.")
    columns, measures = score_columns(run), [*MEASURES, *(f"{AUROC_OF}{fault}" for fault in known_faults(run))]
    if run.config.metric.prompt_model is not None:
        measures.append(f"spearman_{CLIP_SCORE}")
    of_all = [*OF_ALL_SAMPLES, *([] if run.config.metric.prompt_model is None else [CLIP_SCORE])]
    known = [*of_all, *(f"{column}/{measure}" for column in columns for measure in measures)]
    if name not in known:
        near = did_you_mean(name, known).split(" Known:")[0]
        raise ConfigurationError(
            f"objective = '{name}' is no number of this run's evaluation.{near} Known: {', '.join(of_all)}, "
            f"and COLUMN/MEASURE of the columns {', '.join(columns)} and the measures {', '.join(measures)}."
        )


def known_faults(run: Run) -> list[str]:
    """What an oracle, where it says which samples are bad, tells apart."""
    oracle = test_set(run).oracle
    return [] if run.config.metric.truth != "oracle" or oracle is None else oracle.faults


def value_of(config: DictConfig, folder: Path) -> float | None:
    """The objective of the finished run in `folder`; None where none is asked for.

    Raises:
        ArtefactError: it could not be computed, and a search must not take anything else for it.
    """
    name = config.objective
    if name is None:
        return None
    numbers = numbers_of(read_evaluation(folder / "evaluate"))
    if not math.isfinite(value := numbers.get(name, math.nan)):
        raise ArtefactError(f"objective = '{name}' could not be computed for {folder}; it has {', '.join(numbers)}.")
    return value
