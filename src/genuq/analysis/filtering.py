"""Which samples a score keeps."""

from __future__ import annotations

import numpy as np

from genuq.analysis.inputs import Array, Column, class_column, column
from genuq.errors import ConfigurationError


def kept_count(fraction: float, count: int | Array) -> Array:
    """Samples kept of `count`, rounded half up."""
    return np.floor(fraction * np.asarray(count) + 0.5).astype(np.int64)


def keep_lowest(score: Column, fraction: float, classes: Column | None = None) -> Array:
    """Sorted indices of the lowest-scored fraction, ties going to the lower index.

    Args:
        score: (N,) higher means less trusted.
        fraction: in (0, 1] of the samples.
        classes: (N,) labels: keep that fraction of each class, so that the mix of classes stays. Without them a score
            that is low on simple classes fills the kept set with those.
    """
    if not 0 < fraction <= 1:
        raise ConfigurationError(f"Fraction {fraction} is not in (0, 1]. Correct the key metric.fractions.")
    score_N = column(score, "score")
    if classes is None:
        order = np.argsort(score_N, kind="stable")
        return np.sort(order[: kept_count(fraction, len(score_N))])
    return _keep_lowest_per_class(score_N, fraction, class_column(classes, len(score_N)))


def _keep_lowest_per_class(score_N: Array, fraction: float, classes_N: Array) -> Array:
    order = np.lexsort((score_N, classes_N))
    sizes = np.bincount(classes_N)
    starts = np.cumsum(sizes) - sizes
    place_in_class = np.arange(len(order)) - starts[classes_N[order]]
    return np.sort(order[place_in_class < kept_count(fraction, sizes)[classes_N[order]]])


def quantile_groups(score_N: Array, bins: int) -> list[Array]:
    """Row indices of `bins` groups of equal size (within one), from the lowest to the highest scores."""
    return np.array_split(np.argsort(score_N, kind="stable"), bins)
