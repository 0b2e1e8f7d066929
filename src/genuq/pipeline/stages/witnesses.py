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
from genuq.identity import neutral
from genuq.likelihoods import Likelihood
from genuq.models import to_unit
from genuq.pipeline.configured import data_inputs, extractor_inputs, likelihood_inputs, open_judge
from genuq.pipeline.parts import DataInputs, ExtractorInputs, LikelihoodInputs
from genuq.pipeline.run import Run

SCORING = "scoring"  # the likelihood's own space
FAILED_BY = ("score", "witnesses")
OF_WITNESSES = ("witnesses", "witness_images", "rise", "sure")  # settings of the application


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
    judged = None if run.config.metric.extractor == "classifier" else open_judge(run).name
    seen: dict[str, str] = {}
    for name in names:
        space, _ = feature_map(name, _extractor(run, name), likelihood_inputs(run), run.device)
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


@dataclass(frozen=True)
class WitnessInputs:
    """What the witnesses of a run depend on.

    Attributes:
        extractors: by the name of each witness; None where it sees what the likelihood sees.
        likelihood: whose space is that of `scoring`.
        data: training images, which they learn from.
        images: how many of them, a seeded subset.
        rise: that an attempt must win; None: calibrated.
        sure: how sure the calibration is to be.
        device: of the encoders.
    """

    extractors: Mapping[str, ExtractorInputs | None]
    likelihood: LikelihoodInputs
    data: DataInputs
    images: int
    seed: int
    rise: float | None
    sure: float | None
    device: torch.device = neutral()


def witness_inputs(run: Run, settings: Mapping[str, Any]) -> WitnessInputs | None:
    """The witnesses that the application asks; None where it asks none."""
    if not asks_witnesses(settings):
        return None
    calibrates = settings["rise"] is None and settings["rule"] != "score"
    return WitnessInputs(
        extractors={name: _extractor(run, name) for name in settings["witnesses"]},
        likelihood=likelihood_inputs(run),
        data=data_inputs(run, "train"),
        images=settings["witness_images"],
        seed=run.config.seed,
        rise=settings["rise"] if settings["rule"] != "score" else None,
        sure=settings["sure"] if calibrates else None,
        device=run.device,
    )


def _extractor(run: Run, name: str) -> ExtractorInputs | None:
    return None if name == SCORING else extractor_inputs(run, name, {})


def feature_map(
    name: str, extractor: ExtractorInputs | None, likelihood: LikelihoodInputs, device: torch.device
) -> tuple[str, Callable[[Tensor], Tensor]]:
    """(the space's own name, images in [-1, 1] to features) of a witness.

    Args:
        name: of the witness.
        extractor: None for the likelihood's own space.
    """
    if extractor is None:
        scoring = likelihood.build()
        assert isinstance(scoring, Likelihood)
        return scoring.extractor.name, lambda images: scoring.embed(to_unit(images), device=device)
    try:
        encoder = extractor.open()
    except ConfigurationError as error:
        raise ConfigurationError(f"application.witnesses: {error}") from error
    return encoder.name, lambda images: encoder.extract(to_unit(images), device=device)


@dataclass(frozen=True)
class WitnessPanel:
    """The witnesses of a run, and what they say of its samples.

    Attributes:
        spaces: a witness in each.
        classes: (N,) asked for.
        asked_WN: log-odds of them, to each witness.
        rise: that an attempt must win; None: calibrated.
        sure: how sure the calibration is to be.
    """

    spaces: list[Space]
    classes: Tensor
    asked_WN: Tensor
    rise: float | None
    sure: float | None

    @property
    def doubt(self) -> Tensor:
        """(N,) minus the sum of the witnesses' log-probabilities of the class asked for."""
        return -F.logsigmoid(self.asked_WN).sum(0)

    @property
    def facts(self) -> dict[str, Any]:
        return {"witness_accuracy": {space.name: space.witness.accuracy for space in self.spaces}}

    def verdict(self, attempts: Attempts) -> Verdict:
        answers = statements(attempts, self.spaces, self.classes[attempts.index])
        if self.rise is not None:
            return Verdict(witness_evidence(answers, self.rise), {}, [])
        calibration = self.calibrated(attempts, answers)
        facts = {"rise": calibration.rise, "confirmed": calibration.confirmed, "expected_success": calibration.sure}
        return Verdict(witness_evidence(answers, calibration.rise), facts, self.notes_on(calibration))

    def calibrated(self, attempts: Attempts, answers: Statements) -> Calibration:
        """On the samples and the attempts at them: the rule decides on images of both kinds."""
        classes = self.classes[attempts.index].repeat_interleave(answers.ours.shape[2])
        asked_WN = torch.cat([self.asked_WN, answers.ours.flatten(1)], 1)
        assert self.sure is not None
        return calibrated_rise(asked_WN, torch.cat([self.classes, classes]), self.sure)

    def notes_on(self, calibration: Calibration) -> list[str]:
        if math.isfinite(calibration.rise):
            return []
        return [
            f"No rise of the witnesses promises {self.sure:.0%} real improvements on these samples (at most "
            f"{calibration.sure:.0%}), so that nothing is accepted. More samples, witnesses or witness_images may help."
        ]


class Verdict(NamedTuple):
    """What the witnesses say of attempts, the facts of it for the report, and what a reader must know."""

    evidence: Evidence
    facts: dict[str, Any]
    notes: list[str]


def witness_panel(inputs: WitnessInputs, images: Tensor, classes: Tensor, display: Display) -> WitnessPanel:
    """Witnesses that learn from a seeded subset of the training images, asked about the run's samples.

    Args:
        images: (N, C, H, W) in [-1, 1], the run's samples.
        classes: (N,) asked for.
    """
    training_set = inputs.data.train
    chosen = data.subset(training_set, min(inputs.images, len(training_set)), inputs.seed)
    real, labels = chosen.batch(range(len(chosen)))
    spaces = []
    for name, extractor in inputs.extractors.items():
        with display.busy(f"witness in {name}"):
            _, embed = feature_map(name, extractor, inputs.likelihood, inputs.device)
            spaces.append(Space(name, embed, fit_witness(embed(real), labels, training_set.num_classes)))
    return WitnessPanel(spaces, classes, asked(spaces, images, classes), inputs.rise, inputs.sure)
