"""Which samples a score keeps."""

from __future__ import annotations

import math

import numpy as np

from genuq.analysis.inputs import Array, Column, class_column, column
from genuq.errors import ConfigurationError


def kept_count(fraction: float, count: int) -> int:
    """Samples kept of `count`, rounded half up."""
    return math.floor(fraction * count + 0.5)


def keep_lowest(score: Column, fraction: float, classes: Column | None = None) -> Array:
    """Sorted indices of the lowest-scored fraction, ties going to the lower index.

    Args:
        score: (N,) higher means less trusted.
        fraction: in (0, 1] of the samples.
        classes: (N,) labels: keep that fraction of each class, so that the mix of classes stays. Without them a score
            that is low on simple classes fills the kept set with those. As many are kept in all as without.
    """
    if not 0 < fraction <= 1:
        raise ConfigurationError(f"Fraction {fraction} is not in (0, 1]. Correct the key metric.fractions.")
    score_N = column(score, "score")
    if classes is None:
        order = np.argsort(score_N, kind="stable")
        return np.sort(order[: kept_count(fraction, len(score_N))])
    return _keep_lowest_per_class(score_N, fraction, class_column(classes, len(score_N)))


def _keep_lowest_per_class(score_N: Array, fraction: float, classes_N: Array) -> Array:
    """Orders samples by their quantile within their class: exact in total, and within one sample in each class."""
    order = np.lexsort((score_N, classes_N))
    sizes = np.bincount(classes_N)
    starts = np.cumsum(sizes) - sizes
    quantile_N = np.empty(len(order))
    quantile_N[order] = (np.arange(len(order)) - starts[classes_N[order]] + 0.5) / sizes[classes_N[order]]
    return np.sort(np.argsort(quantile_N, kind="stable")[: kept_count(fraction, len(order))])


def quantile_groups(score_N: Array, bins: int) -> list[Array]:
    """Row indices of `bins` groups of equal size (within one), from the lowest to the highest scores."""
    return np.array_split(np.argsort(score_N, kind="stable"), bins)
