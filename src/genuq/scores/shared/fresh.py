"""New samples, and what a network predicts on the way to them or of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from genuq.models import GenerativeModel, Sampler, sample
from genuq.scores.shared.path import recording
from genuq.scores.shared.predictions import Predictions, Resources
from genuq.scores.shared.probe import Probe


class Fresh(NamedTuple):
    """A batch of samples, and the predictions that scores of their `path` or of a `probe` of them ask for."""

    samples: Tensor
    predictions: Predictions


def fresh(
    model: GenerativeModel,
    sampler: Sampler,
    indices: Sequence[int],
    source: str,
    resources: Resources | None = None,
) -> Fresh:
    """Draw one batch of samples for scores of one source, `path` or `probe`, of which nothing is asked yet.

    Args:
        indices: of the samples, at most the sampler's batch size.
        resources: that the scores may ask for.
    """
    if source == "path":
        with recording(model, sampler, indices) as recorder:
            samples = sample(model, sampler, indices, observers=[recorder])
        return Fresh(samples, recorder.path(resources))
    samples = sample(model, sampler, indices)
    classes = sampler.classes_of(model, indices)
    return Fresh(samples, Probe(model, samples, indices, sampler.seed, classes, resources))
