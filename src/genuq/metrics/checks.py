"""What every metric asks of its features, checked before any long work."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from genuq.errors import ConfigurationError, DataError, require_finite

Features = Tensor | np.ndarray


def feature_matrix(features: Features, name: str) -> Tensor:
    """`features` as a finite (N, D) tensor in its own precision.

    Raises:
        DataError: another number of axes, or no rows or columns.
        NonFiniteError: NaN or infinite entries.
    """
    matrix = torch.as_tensor(features).detach()
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise DataError(
            f"{name} must be a matrix of N samples by D features, not of shape {tuple(matrix.shape)}. "
            "Flatten each sample to one row."
        )
    require_finite(matrix, name, "Check the images and the extractor (key metric.extractor) that made these features.")
    return matrix


def feature_pair(real: Features, fake: Features) -> tuple[Tensor, Tensor]:
    """Both sets checked, with one dimension and on the device of `real`."""
    real_ND, fake_ND = feature_matrix(real, "real features"), feature_matrix(fake, "fake features")
    if real_ND.shape[1] != fake_ND.shape[1]:
        raise DataError(
            f"Real features have dimension {real_ND.shape[1]} and fake features {fake_ND.shape[1]}. "
            "Make both with the same extractor (key metric.extractor)."
        )
    return real_ND, fake_ND.to(real_ND.device)


def require_neighbours(features: Any, k: int, name: str) -> None:
    """Raise unless every sample has a k-th nearest other one."""
    if k < 1:
        raise ConfigurationError(f"k = {k} is not a number of neighbours. Set the key metric.k to 1 or more.")
    require_count(len(features), k + 1, name, f"for k = {k} neighbours", "lower the key metric.k")


def require_count(count: int, needed: int, name: str, purpose: str, otherwise: str) -> None:
    if count < needed:
        raise DataError(
            f"{count} {name} are too few {purpose}: at least {needed} are needed. "
            f"Take more samples (key sampler.samples for fakes, metric.reference_images for real ones) or {otherwise}."
        )
