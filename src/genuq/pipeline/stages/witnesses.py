"""The witnesses of a run: classifiers of its training images in the score's space and others, never in the judge's."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from genuq import data
from genuq.applications import (
    Attempts,
    Calibration,
    Evidence,
    Space,
    Statements,
    asked,
    calibrated_rise,
    fit_witness,
    statements,
    witness_evidence,
)
from genuq.applications.rectify import require_known
from genuq.display import Display
from genuq.errors import ConfigurationError
from genuq.likelihoods import Likelihood
from genuq.models import to_unit
from genuq.pipeline.run import Run

SCORING = "scoring"  # the likelihood's own space
FAILED_BY = ("score", "witnesses")


def asks_witnesses(settings: Mapping[str, Any]) -> bool:
    return settings["failed_by"] == "witnesses" or settings["rule"] != "score"


def check_witnesses(run: Run, settings: Mapping[str, Any]) -> None:
    """Raise ConfigurationError for settings of witnesses that cannot work; where none are asked, none are checked."""
    require_known("failed_by", settings["failed_by"], FAILED_BY)
    if not asks_witnesses(settings):
        return
    rise, count = settings["rise"], len(settings["witnesses"])
    if not run.config.model.class_conditional:
        raise ConfigurationError(
            "application.rule = witnesses asks whether a sample shows its class, but the model knows none. Set "
            "application.rule and application.failed_by to score."
        )
    if rise is not None and not rise > 0:
        raise ConfigurationError(f"application.rise = {rise}; it must be above 0, or null to be calibrated.")
    if not 0.5 <= settings["sure"] < 1:
        raise ConfigurationError(f"application.sure = {settings['sure']}; it must lie in [0.5, 1).")
    least = 2 if rise is None and settings["rule"] != "score" else 1
    if count < least:
        raise ConfigurationError(
            f"application.witnesses names {count}; at least {least} needed"
            + (", as they judge each other where application.rise is null." if least == 2 else ".")
        )
    if settings["witness_images"] < 2:
        raise ConfigurationError(f"application.witness_images = {settings['witness_images']}; at least 2 are needed.")
    check_spaces(run, settings["witnesses"])


def check_spaces(run: Run, names: list[str]) -> None:
    """Each witness has a space of its own, and none has the judge's."""
    judged = None if run.config.metric.extractor == "classifier" else run.judge.name
    seen: dict[str, str] = {}
    for name in names:
        space, _ = feature_map(run, name)
        if space in seen:
            raise ConfigurationError(
                f"application.witnesses: '{name}' and '{seen[space]}' are the same space ({space}). Name each once, "
                "for instance [pixels, efficientnet]."
            )
        if space == judged:
            raise ConfigurationError(
                f"application.witnesses: '{name}' is the judge's own space ({space}). Choose another, or another "
                "metric.extractor."
            )
        seen[space] = name


def feature_map(run: Run, name: str) -> tuple[str, Callable[[Tensor], Tensor]]:
    """(the space's own name, images in [-1, 1] to features) of a witness."""
    if name == SCORING:
        likelihood = run.likelihood
        assert isinstance(likelihood, Likelihood)
        return likelihood.extractor.name, lambda images: likelihood.embed(to_unit(images), device=run.device)
    try:
        extractor = run.named_extractor(name, {})
    except ConfigurationError as error:
        raise ConfigurationError(f"application.witnesses: {error}") from error
    return extractor.name, lambda images: extractor.extract(to_unit(images), device=run.device)


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

    def calibrated(self, attempts: Attempts, answers: Statements) -> Calibration:
        """On the samples and the attempts at them: the rule decides on images of both kinds."""
        classes = self.classes[attempts.index].repeat_interleave(answers.ours.shape[2])
        asked_WN = torch.cat([self.asked_WN, answers.ours.flatten(1)], 1)
        return calibrated_rise(asked_WN, torch.cat([self.classes, classes]), self.settings["sure"])

    def notes_on(self, calibration: Calibration) -> list[str]:
        if math.isfinite(calibration.rise):
            return []
        return [
            f"No rise of the witnesses promises {self.settings['sure']:.0%} real improvements on these samples (at most "
            f"{calibration.sure:.0%}), so that nothing is accepted. More samples, witnesses or witness_images may help."
        ]


class Verdict(NamedTuple):
    """What the witnesses say of attempts, the facts of it for the report, and what a reader must know."""

    evidence: Evidence
    facts: dict[str, Any]
    notes: list[str]


def witness_panel(
    run: Run, settings: Mapping[str, Any], images: Tensor, classes: Tensor, display: Display
) -> WitnessPanel:
    """Witnesses that learn from a seeded subset of the training images, asked about the run's samples."""
    chosen = data.subset(run.training_set, min(settings["witness_images"], len(run.training_set)), run.config.seed)
    real, labels = chosen.batch(range(len(chosen)))
    spaces = []
    for name in settings["witnesses"]:
        with display.busy(f"witness in {name}"):
            _, embed = feature_map(run, name)
            spaces.append(Space(name, embed, fit_witness(embed(real), labels, run.training_set.num_classes)))
    return WitnessPanel(spaces, classes, asked(spaces, images, classes), settings)
