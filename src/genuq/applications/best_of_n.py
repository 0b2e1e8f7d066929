"""Best of n: of n samples made for one condition, show the one that the score trusts most; the control, any of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from genuq.analysis.inputs import Array, Column, class_column, column
from genuq.applications.finished_run import EXAMPLES, FinishedRun, Made, UnsampledRun
from genuq.applications.outcome import Judgement, Outcome, Replicates, Rows, clause
from genuq.applications.register import APPLICATIONS
from genuq.errors import ConfigurationError
from genuq.parts.bounds import Several, check, check_fields

CONTROL = "any of the candidates"


def candidate_groups(count: int, n: int, classes: Column | None = None) -> Array:
    """(G, n) indices: the samples of each class in their order, n at a time; what is left over belongs to no group.

    Raises:
        ConfigurationError: n below 2, or more than any class has.
    """
    check("application.n", n, Several)
    codes_N = np.zeros(count, dtype=int) if classes is None else class_column(classes, count)
    groups = []
    for code in np.unique(codes_N):
        members = np.flatnonzero(codes_N == code)
        whole = len(members) // n
        groups.append(members[: whole * n].reshape(whole, n))
    found = np.concatenate(groups)
    if not len(found):
        largest = int(np.bincount(codes_N).max())
        raise ConfigurationError(
            f"application.n = {n}, but no class has more than {largest} of {count} samples. Lower it, or raise "
            "sampler.samples."
        )
    return found


def best_of(score: Column, groups_GN: Array) -> Array:
    """(G,) indices of the lowest score in each group, the first of equals."""
    score_N = column(score, "score")
    return groups_GN[np.arange(len(groups_GN)), score_N[groups_GN].argmin(1)]


def best_of_n_outcome(
    n: int,
    score: Column,
    judgement: Judgement,
    classes: Column | None = None,
    replicates: Replicates | None = None,
) -> Outcome:
    """Means over the chosen samples beside those of a random candidate (its exact expectation), over groups.

    The row `score` shows what was chosen by: its expected minimum of n against its mean.
    """
    replicates = replicates or Replicates()
    score_N = column(score, "score", len(judgement.features_ND))
    groups = candidate_groups(len(score_N), n, classes)
    chosen, rows = best_of(score_N, groups), Rows()
    columns: dict[str, Column] = {**judgement.measures, "score": score_N}
    for name, values in columns.items():
        values_N = column(values, name, len(score_N))
        rows.means(name, (values_N[chosen], values_N[groups].mean(1)), replicates)
    opening = f"Of {n} candidates for one condition, the one with the lowest score ({len(groups)} choices): "
    sentence = opening + clause(rows.found[0], "a random candidate") + "."
    settings = {"n": n, "choices": len(groups)}
    return Outcome("best_of_n", CONTROL, settings, rows.found, sentence, rows.notes)


@dataclass(frozen=True)
class BestOfN:
    """How to choose.

    Attributes:
        n: candidates for one condition.
    """

    n: Several = 4

    def __post_init__(self) -> None:
        check_fields(self, "application")


def check_best_of_n(how: BestOfN, planned: UnsampledRun) -> None:
    """Raise ConfigurationError where no class has so many samples."""
    candidate_groups(planned.count, how.n, planned.sampler.classes_of(planned.model, range(planned.count)))


@APPLICATIONS.add(
    name="best_of_n", label="Best of n", settings=BestOfN, control=CONTROL, check=check_best_of_n, resamples=()
)
def run_best_of_n(known: FinishedRun, how: BestOfN) -> Made:
    """Of n samples for one condition show the one that the score trusts most.

    Examples: the candidate of highest score, the chosen one, and the first of each group.
    """
    outcome = best_of_n_outcome(how.n, known.score, known.judgement, known.classes, known.replicates)
    groups = candidate_groups(len(known.score), how.n, known.classes)[:EXAMPLES]
    best, worst = (torch.as_tensor(best_of(sign * known.score, groups)) for sign in (1, -1))
    images, judged = known.samples["image"], known.judgement
    rows = {"before": worst, "after": best, "control": torch.as_tensor(groups[:, 0])}
    values = {f"{name}_judged": judged.measures[judged.primary][which].double() for name, which in rows.items()}
    pictures = {name: known.shown(images[which]) for name, which in rows.items()}
    others = {"after_index": best, "control_index": rows["control"]}
    return outcome, {"index": worst, **others, **pictures, **values}
