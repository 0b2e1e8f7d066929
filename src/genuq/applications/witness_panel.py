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
from genuq.applications.witnesses import RiseCalibration, Space, asked, calibrated_rise, fit_witness


@dataclass(frozen=True)
class WitnessPanel:
    """The witnesses of a run, and what they say of its samples.

    Attributes:
        spaces: a witness in each.
        classes: (N,) asked for.
        asked_WN: log-odds of them, to each witness.
        settings: the settings of the application.
    """

    spaces: list[Space]
    classes: Tensor
    asked_WN: Tensor
    settings: Mapping[str, Any]

    @property
    def doubt(self) -> Tensor:
        """(N,) minus the sum of the witnesses' log-probabilities of the class asked for."""
        return -F.logsigmoid(self.asked_WN).sum(0)

    @property
    def facts(self) -> dict[str, Any]:
        return {"witness_accuracy": {space.name: space.witness.accuracy for space in self.spaces}}

    def verdict(self, attempts: Attempts) -> Verdict:
        answers = statements(attempts, self.spaces, self.classes[attempts.index])
        if self.settings["rise"] is not None:
            return Verdict(witness_evidence(answers, self.settings["rise"]), {}, [])
        calibration = self.calibrated(attempts, answers)
        facts = {"rise": calibration.rise, "confirmed": calibration.confirmed, "expected_success": calibration.sure}
        return Verdict(witness_evidence(answers, calibration.rise), facts, self.notes_on(calibration))

    def calibrated(self, attempts: Attempts, answers: Statements) -> RiseCalibration:
        """On the samples and the attempts at them: the rule decides on images of both kinds."""
        classes = self.classes[attempts.index].repeat_interleave(answers.ours.shape[2])
        asked_WN = torch.cat([self.asked_WN, answers.ours.flatten(1)], 1)
        return calibrated_rise(asked_WN, torch.cat([self.classes, classes]), self.settings["sure"])

    def notes_on(self, calibration: RiseCalibration) -> list[str]:
        if math.isfinite(calibration.rise):
            return []
        return [
            f"No rise of the witnesses promises {self.settings['sure']:.0%} real improvements on these samples "
            f"(at most {calibration.sure:.0%}), so that nothing is accepted. More samples, witnesses or "
            "witness_images may help."
        ]


class Verdict(NamedTuple):
    """What the witnesses say of attempts, the facts of it for the report, and what a reader must know."""

    evidence: Evidence
    facts: dict[str, Any]
    notes: list[str]


def witness_panel(known: FinishedRun, settings: Mapping[str, Any], classes: Tensor) -> WitnessPanel:
    """Witnesses that learn from a seeded subset of the training images, asked about the run's samples."""
    training = known.training_set
    chosen = data.subset(training, min(settings["witness_images"], len(training)), known.seed)
    real, labels = chosen.batch(range(len(chosen)))
    spaces = []
    for name in settings["witnesses"]:
        with known.busy(f"witness in {name}"):
            _, embed = known.space(name)
            spaces.append(Space(name, embed, fit_witness(embed(real), labels, training.num_classes)))
    return WitnessPanel(spaces, classes, asked(spaces, known.samples["image"], classes), settings)
