"""The witnesses of a run: classifiers of its training images in the score's space and others, never in the judge's."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from genuq import data
from genuq.applications import Attempts, Evidence, Space, asked, calibrated_rise, fit_witness, witness_evidence
from genuq.applications.rectify import require_known
from genuq.errors import ConfigurationError
from genuq.likelihoods import Likelihood
from genuq.models import to_unit
from genuq.stages.progress import Display
from genuq.stages.run import Run

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
    if rise is not None and not 0 < rise < 1:
        raise ConfigurationError(f"application.rise = {rise}; it must lie in (0, 1), or be null to be calibrated.")
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
        doubt: (N,) minus the sum of their log-probabilities of the class asked for.
        rise: by how much each must rise.
        facts: of the witnesses and the rise, for the report.
        notes: what a reader must know.
    """

    spaces: list[Space]
    classes: Tensor
    doubt: Tensor
    rise: float
    facts: dict[str, Any]
    notes: list[str]

    def evidence(self, attempts: Attempts) -> Evidence:
        return witness_evidence(attempts, self.spaces, self.classes[attempts.index], self.rise)


def jury_of(run: Run, given: Mapping[str, Any], images: Tensor, classes: Tensor, display: Display) -> Jury:
    """Witnesses that learn from a seeded subset of the training images, and are calibrated on the run's samples."""
    chosen = data.subset(run.training_set, min(given["witness_images"], len(run.training_set)), run.config.seed)
    real, labels = chosen.batch(range(len(chosen)))
    spaces = []
    for name in given["witnesses"]:
        with display.busy(f"witness in {name}"):
            _, embed = way_into(run, name)
            spaces.append(Space(name, embed, fit_witness(embed(real), labels, run.training_set.num_classes)))
    asked_WN, rise, notes = asked(spaces, images, classes), given["rise"], []
    facts: dict[str, Any] = {"witness_accuracy": {space.name: space.witness.accuracy for space in spaces}}
    if rise is None and given["rule"] != "score":
        found = calibrated_rise(asked_WN, classes, given["sure"])
        rise = found.rise
        facts |= {"rise": found.rise, "confirmed": found.confirmed, "expected_success": found.sure}
        if math.isinf(rise):
            notes.append(
                f"No rise of the witnesses promises {given['sure']:.0%} real improvements on these samples (at most "
                f"{found.sure:.0%}), so that nothing is accepted. More samples, witnesses or witness_images may help."
            )
    return Jury(spaces, classes, -asked_WN.log().sum(0), rise or 0.0, facts, notes)
