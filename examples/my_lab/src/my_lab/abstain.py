"""Abstain: show samples in the order of their score as long as an estimate of the errors among them stays in budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genuq.applications import ApplicationPart, FinishedRun, Judgement, Made, Outcome
from genuq.applications.finished_run import EXAMPLES
from genuq.applications.outcome import Rows, clause, mean_of, share_of
from genuq.errors import ConfigurationError
from genuq.randomness import generator

CONTROL = "any of the other half's samples"


@dataclass(frozen=True)
class Abstain:
    """How much error is accepted.

    Attributes:
        budget: highest share of errors among the samples shown, in (0, 1).
        measure: of the judge; an error is one minus it. null takes the judge's first.
    """

    budget: float = 0.1
    measure: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.budget < 1:
            raise ConfigurationError(f"application.budget = {self.budget}; it must lie between 0 and 1.")


def abstain(known: FinishedRun, how: Abstain) -> Made:
    """On half of the samples find the highest score up to which the errors stay in budget; show the other half's.

    Only the half that did not choose the threshold is counted. The control shows any of that half: the expectation of
    choosing as many at random.
    Examples: the other half's samples of highest score, each beside one of lowest score and any.
    """
    measure = how.measure or known.judgement.primary
    error = 1 - judged_by(known.judgement, measure)
    calibration, test = halves(len(error), known.seed)
    threshold = highest_score(known.score[calibration], error[calibration], how.budget)
    shown = known.score[test].double() <= threshold
    settings = {"budget": how.budget, "measure": measure, "threshold": threshold, "shown": int(shown.sum())}
    outcome = compared(known, test, shown, settings)
    return outcome, examples(known, test)


def judged_by(judgement: Judgement, measure: str) -> Tensor:
    """(N,) float64; raises ConfigurationError for a measure that the judge does not have."""
    if measure not in judgement.measures:
        raise ConfigurationError(
            f"application.measure = '{measure}'; the judge knows {', '.join(judgement.measures)}. Choose one of them."
        )
    return judgement.measures[measure].double()


def halves(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Two random halves of the samples, sorted; the same for the same seed."""
    order = torch.randperm(count, generator=generator(seed, 0, "abstain"))
    return order[: count // 2].sort().values, order[count // 2 :].sort().values


def highest_score(score: Tensor, error: Tensor, budget: float) -> float:
    """The highest score up to which the mean error is at most the budget; minus infinity where there is none."""
    order = score.double().argsort(stable=True)
    mean = error[order].cumsum(0) / torch.arange(1, len(order) + 1)
    within = (mean <= budget).nonzero().flatten()
    return float(score.double()[order[within[-1]]]) if len(within) else -float("inf")


def compared(known: FinishedRun, test: Tensor, shown: Tensor, settings: dict[str, Any]) -> Outcome:
    """Means of what is shown beside those of the whole half."""
    rows, taken = Rows(), np.asarray(shown.double())
    if not shown.any():
        said = f"No sample is shown: no share of the calibration half keeps the errors below {settings['budget']:g}."
        return Outcome("abstain", CONTROL, settings, [], said)
    for name, values in known.judgement.measures.items():
        values_N = np.asarray(values[test].double())
        rows.statistics(name, share_of(values_N, taken), mean_of(values_N), len(test), known.replicates)
    said = f"{int(shown.sum())} of {len(test)} samples are shown: {clause(rows.found[0], 'any of them')}."
    return Outcome("abstain", CONTROL, settings, rows.found, said, rows.notes)


def examples(known: FinishedRun, test: Tensor) -> dict[str, Tensor]:
    order, count = test[known.score[test].argsort()], min(EXAMPLES, len(test) // 2)
    chosen = {"before": order.flip(0)[:count], "after": order[:count], "control": test[:count]}
    judged, images = known.judgement.measures[known.judgement.primary], known.samples["image"]
    pictures = {name: known.shown(images[index]) for name, index in chosen.items()}
    values = {f"{name}_judged": judged[index].double() for name, index in chosen.items()}
    return {"index": chosen["before"], "after_index": chosen["after"], **pictures, **values}


PART = ApplicationPart.of(abstain, name="abstain", label="Abstain", settings=Abstain, control=CONTROL, resamples=())
