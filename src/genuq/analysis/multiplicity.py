"""Several tests at once: p-values adjusted so that they can be held against one level."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from genuq.analysis.inputs import Array, column
from genuq.errors import DataError


def holm(p_values: Sequence[float] | Array) -> Array:
    """Adjusted p-values of a few declared comparisons: those at most 0.05 hold together with 95 % certainty.

    Args:
        p_values: (K,) in [0, 1], however the tests depend on each other.
    Returns:
        (K,) in the order given: the largest p (K + 1 - rank) of all p-values up to its own, at most 1.
    Source: Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 1979.
    """
    p_K = _checked(p_values)
    order_K = np.argsort(p_K, kind="stable")
    return _restored(np.maximum.accumulate(p_K[order_K] * np.arange(len(p_K), 0, -1)), order_K)


def benjamini_hochberg(p_values: Sequence[float] | Array) -> Array:
    """Adjusted p-values of a grid: of those at most 0.05, at most 5 % are expected to be false.

    Args:
        p_values: (K,) in [0, 1], of independent or positively dependent tests.
    Returns:
        (K,) in the order given: the smallest p K / rank of all p-values from its own upwards, at most 1.
    Source: Benjamini & Hochberg, Controlling the False Discovery Rate, JRSS B 1995.
    """
    p_K = _checked(p_values)
    order_K = np.argsort(p_K, kind="stable")
    scaled_K = p_K[order_K] * len(p_K) / np.arange(1, len(p_K) + 1)
    return _restored(np.minimum.accumulate(scaled_K[::-1])[::-1], order_K)


def _checked(p_values: Sequence[float] | Array) -> Array:
    p_K = column(p_values, "p-values")
    if ((p_K < 0) | (p_K > 1)).any():
        raise DataError(f"p-values lie in [0, 1], not from {p_K.min():g} to {p_K.max():g}.")
    return p_K


def _restored(adjusted_K: Array, order_K: Array) -> Array:
    """In the order given, at most 1."""
    found_K = np.empty_like(adjusted_K)
    found_K[order_K] = np.minimum(adjusted_K, 1.0)
    return found_K
