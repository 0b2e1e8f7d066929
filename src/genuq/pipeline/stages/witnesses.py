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


def asks_witnesses(given: Mapping[str, Any]) -> bool:
    return given["failed_by"] == "witnesses" or given["rule"] != "score"


def check_witnesses(run: Run, given: Mapping[str, Any]) -> None:
    """Raise ConfigurationError for settings of witnesses that cannot work; where none are asked, none are checked."""
    require_known("failed_by", given["failed_by"], FAILED_BY)
    if not asks_witnesses(given):
        return
    rise, count = given["rise"], len(given["witnesses"])
    if not run.config.model.class_conditional:
        raise ConfigurationError(
            "application.rule = witnesses asks whether a sample shows its class, but the model knows none. Set "
            "application.rule and application.failed_by to score."
        )
    if rise is not None and not rise > 0:
        raise ConfigurationError(f"application.rise = {rise}; it must be above 0, or null to be calibrated.")
    if not 0.5 <= given["sure"] < 1:
        raise ConfigurationError(f"application.sure = {given['sure']}; it must lie in [0.5, 1).")
    least = 2 if rise is None and given["rule"] != "score" else 1
    if count < least:
        raise ConfigurationError(
            f"application.witnesses names {count}; at least {least} needed"
            + (", as they judge each other where application.rise is null." if least == 2 else ".")
        )
    if given["witness_images"] < 2:
        raise ConfigurationError(f"application.witness_images = {given['witness_images']}; at least 2 are needed.")
    check_spaces(run, given["witnesses"])


def check_spaces(run: Run, names: list[str]) -> None:
    """Each witness has a space of its own, and none has the judge's."""
    judged = None if run.config.metric.extractor == "classifier" else run.judge.name
    seen: dict[str, str] = {}
    for name in names:
        space, _ = way_into(run, name)
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


def way_into(run: Run, name: str) -> tuple[str, Callable[[Tensor], Tensor]]:
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


def jury_of(run: Run, given: Mapping[str, Any], images: Tensor, classes: Tensor, display: Display) -> Jury:
    """Witnesses that learn from a seeded subset of the training images, asked about the run's samples."""
    chosen = data.subset(run.training_set, min(given["witness_images"], len(run.training_set)), run.config.seed)
    real, labels = chosen.batch(range(len(chosen)))
    spaces = []
    for name in given["witnesses"]:
        with display.busy(f"witness in {name}"):
            _, embed = way_into(run, name)
            spaces.append(Space(name, embed, fit_witness(embed(real), labels, run.training_set.num_classes)))
    return Jury(spaces, classes, asked(spaces, images, classes), given)
