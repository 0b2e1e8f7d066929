"""The spaces of a run's witnesses: the score's own and others, never the judge's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from genuq.applications.rectify import require_known
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
