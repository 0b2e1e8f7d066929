"""Likelihoods: the space in which regenerations of a sample are compared, and the Gaussian entropy in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from genuq.errors import ConfigurationError
from genuq.extractors import Extractor
from genuq.likelihoods.gaussian import default_observation_variance, gaussian_entropy
from genuq.likelihoods.likelihood import Likelihood, ObservationVariance, PixelLikelihood, SemanticLikelihood
from genuq.likelihoods.points import PointLikelihood
from genuq.likelihoods.register import LIKELIHOODS, LikelihoodPart


def build(name: str, shape: Sequence[int], extractor: Callable[[], Extractor] | None, **options: Any) -> Any:
    """The likelihood called `name`, for samples of `shape`.

    Args:
        shape: (C, H, W) of images, (D,) of points.
        extractor: makes the extractor; called only for likelihoods that have one. None where none is configured.
        options: its own.

    Raises:
        ConfigurationError: no likelihood has this name; it needs images or an extractor; an option that it has not.
    """
    part = LIKELIHOODS.get(name)
    if part.needs_images and len(shape) != 3:
        raise ConfigurationError(f"likelihood={name} needs images; for points use likelihood=pixel.")
    supplied: dict[str, Any] = {"shape": shape}
    if part.needs_extractor:
        if extractor is None:
            raise ConfigurationError(
                f"likelihood.name = '{name}' with likelihood.extractor = 'None'; name an extractor, or choose pixel."
            )
        supplied["extractor"] = extractor()
    return part.make(**supplied, **options)


__all__ = [
    "LIKELIHOODS",
    "Likelihood",
    "LikelihoodPart",
    "ObservationVariance",
    "PixelLikelihood",
    "PointLikelihood",
    "SemanticLikelihood",
    "build",
    "default_observation_variance",
    "gaussian_entropy",
]
