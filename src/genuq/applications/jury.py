"""The witnesses of a run, and what they say of its samples and of attempts to mend them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from genuq import data
from genuq.applications.finished_run import FinishedRun
from genuq.applications.rectify import Attempts, Evidence, Statements, statements, witness_evidence
from genuq.applications.witnesses import Calibration, Space, asked, calibrated_rise, fit_witness


@dataclass(frozen=True)
class Jury:
    """The witnesses of a run, and what they say of its samples.

    Attributes:
        spaces: a witness in each.
        classes: (N,) asked for.
        asked_WN: log-odds of them, to each witness.
        given: the settings of the application.
    """

    spaces: list[Space]
    classes: Tensor
    asked_WN: Tensor
    given: Mapping[str, Any]

    @property
    def doubt(self) -> Tensor:
        """(N,) minus the sum of the witnesses' log-probabilities of the class asked for."""
        return -F.logsigmoid(self.asked_WN).sum(0)

    @property
    def facts(self) -> dict[str, Any]:
        return {"witness_accuracy": {space.name: space.witness.accuracy for space in self.spaces}}

    def verdict(self, attempts: Attempts) -> Verdict:
        said = statements(attempts, self.spaces, self.classes[attempts.index])
        if self.given["rise"] is not None:
            return Verdict(witness_evidence(said, self.given["rise"]), {}, [])
        found = self.calibrated(attempts, said)
        facts = {"rise": found.rise, "confirmed": found.confirmed, "expected_success": found.sure}
        return Verdict(witness_evidence(said, found.rise), facts, self.notes_on(found))

    def calibrated(self, attempts: Attempts, said: Statements) -> Calibration:
        """On the samples and the attempts at them: the rule decides on images of both kinds."""
        classes = self.classes[attempts.index].repeat_interleave(said.ours.shape[2])
        asked_WN = torch.cat([self.asked_WN, said.ours.flatten(1)], 1)
        return calibrated_rise(asked_WN, torch.cat([self.classes, classes]), self.given["sure"])

    def notes_on(self, found: Calibration) -> list[str]:
        if math.isfinite(found.rise):
            return []
        return [
            f"No rise of the witnesses promises {self.given['sure']:.0%} real improvements on these samples (at most "
            f"{found.sure:.0%}), so that nothing is accepted. More samples, witnesses or witness_images may help."
        ]


class Verdict(NamedTuple):
    """What the witnesses say of attempts, the facts of it for the report, and what a reader must know."""

    evidence: Evidence
    facts: dict[str, Any]
    notes: list[str]


def jury_of(known: FinishedRun, given: Mapping[str, Any], classes: Tensor) -> Jury:
    """Witnesses that learn from a seeded subset of the training images, asked about the run's samples."""
    training = known.training_set
    chosen = data.subset(training, min(given["witness_images"], len(training)), known.seed)
    real, labels = chosen.batch(range(len(chosen)))
    spaces = []
    for name in given["witnesses"]:
        with known.busy(f"witness in {name}"):
            _, embed = known.space(name)
            spaces.append(Space(name, embed, fit_witness(embed(real), labels, training.num_classes)))
    return Jury(spaces, classes, asked(spaces, known.samples["image"], classes), given)
