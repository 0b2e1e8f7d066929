"""Who judges the samples: a feature space with, where it knows classes, a confidence in the class asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from genuq.data import Dataset, off_mode
from genuq.extractors import Extractor, FromCallable
from genuq.extractors.base import unchanged
from genuq.models.checkpoints import load_classifier


@dataclass(frozen=True)
class Judge:
    """Features for the metrics and, where known, class probabilities or the truth.

    Attributes:
        name: of the feature space, printed in every row.
        dimension: D.
        embed: (N, ...) uint8 images, or points, to features (N, D).
        probabilities: features to class probabilities (N, classes); None for a judge without classes.
        truth: points to bool (N,), True where a sample is known to be bad; None where truth is unknown.
        real_test_accuracy: of a classifier, on real test images.
    """

    name: str
    dimension: int
    embed: Callable[..., Tensor]
    probabilities: Callable[[Tensor], Tensor] | None = None
    truth: Callable[[Tensor], Tensor] | None = None
    real_test_accuracy: float | None = None


def classifier_judge(checkpoint: Path) -> Judge:
    """Our classifier: judges in its penultimate features, and by its confidence."""
    classifier, accuracy = load_classifier(checkpoint)
    dimension = classifier.logits.in_features
    extractor = FromCallable(lambda images: classifier.features(2 * images - 1), checkpoint.stem, dimension)

    @torch.no_grad()
    def probabilities(features_ND: Tensor) -> Tensor:
        return classifier.logits(features_ND).softmax(1)

    return Judge(checkpoint.stem, dimension, extractor.extract, probabilities, real_test_accuracy=accuracy)


def extractor_judge(extractor: Extractor) -> Judge:
    """Any extractor: judges in its features alone."""
    return Judge(extractor.name, extractor.dimension, extractor.extract)


def points_judge(test_set: Dataset) -> Judge:
    """Points in the plane: their coordinates and, where the modes are known, whether they lie off all of them."""
    known = hasattr(test_set, "centres")
    return Judge(
        name="coordinates",
        dimension=test_set.shape[0],
        embed=unchanged,
        truth=(lambda points: off_mode(points, test_set)) if known else None,  # type: ignore[arg-type]
    )
