"""The spaces of a run's witnesses: the score's own and others, never the judge's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genuq.errors import ConfigurationError
from genuq.identity import neutral
from genuq.likelihoods import Likelihood
from genuq.models import to_unit
from genuq.pipeline.configured import architecture_of, asks_beyond_data
from genuq.pipeline.configured_judging import extractor_inputs, likelihood_inputs, open_judge
from genuq.pipeline.judging import ExtractorInputs, LikelihoodInputs
from genuq.pipeline.run import Run

SCORING = "scoring"  # the likelihood's own space


def asks_witnesses(settings: Mapping[str, Any]) -> bool:
    return settings["failed_by"] == "witnesses" or settings["rule"] != "score"


def check_witnesses(run: Run, settings: Mapping[str, Any]) -> None:
    """Raise ConfigurationError for settings of witnesses that cannot work; where none are asked, none are checked."""
    if not asks_witnesses(settings):
        return
    rise, count = settings["rise"], len(settings["witnesses"])
    if not architecture_of(run).num_classes:
        raise ConfigurationError(
            "application.rule = witnesses asks whether a sample shows its class, but the model knows none. Set "
            "application.rule and application.failed_by to score."
        )
    if asks_beyond_data(run):
        raise ConfigurationError(
            "application.rule = witnesses asks classifiers of the data whether a sample shows its class, but "
            f"model.prompts asks for what is no class of data.name = '{run.config.data.name}'. Set application.rule "
            "and application.failed_by to score, or leave model.prompts out, so that samples are of the data's classes."
        )
    least = 2 if rise is None and settings["rule"] != "score" else 1
    if count < least:
        raise ConfigurationError(
            f"application.witnesses names {count}; at least {least} needed"
            + (", as they judge each other where application.rise is null." if least == 2 else ".")
        )
    check_spaces(run, settings["witnesses"])


def check_spaces(run: Run, names: list[str]) -> None:
    """Each witness has a space of its own, and none has the judge's."""
    judged = None if run.config.metric.extractor == "classifier" else open_judge(run).name
    seen: dict[str, str] = {}
    spaces = spaces_of(run, names)
    for name in names:
        space, _ = spaces.feature_map(name)
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
class Spaces:
    """The spaces that an application may ask for.

    Attributes:
        likelihood: whose space is that of `scoring`.
        extractors: of the others, by name.
        device: of the encoders.
    """

    likelihood: LikelihoodInputs
    extractors: Mapping[str, ExtractorInputs]
    device: torch.device = neutral()

    def feature_map(self, name: str) -> tuple[str, Callable[[Tensor], Tensor]]:
        """(the space's own name, images in [-1, 1] to features).

        Raises:
            ConfigurationError: it is none of those declared, or cannot be built.
        """
        if name == SCORING:
            scoring = self.likelihood.build()
            assert isinstance(scoring, Likelihood)
            return scoring.extractor.name, lambda images: scoring.embed(to_unit(images), device=self.device)
        if name not in self.extractors:
            known = ", ".join([SCORING, *self.extractors])
            raise ConfigurationError(
                f"an application asked for the space '{name}', but application.witnesses names {known}."
            )
        try:
            extractor = self.extractors[name].open()
        except ConfigurationError as error:
            raise ConfigurationError(f"application.witnesses: {error}") from error
        return extractor.name, lambda images: extractor.extract(to_unit(images), device=self.device)


def spaces_of(run: Run, names: Iterable[str]) -> Spaces:
    """The score's own space, and those called by the names of extractors."""
    try:
        extractors = {name: extractor_inputs(run, name, {}) for name in names if name != SCORING}
    except ConfigurationError as error:
        raise ConfigurationError(f"application.witnesses: {error}") from error
    return Spaces(likelihood_inputs(run), extractors, run.device)
