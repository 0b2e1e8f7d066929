"""Ranks under integer weights: one sort serves every bootstrap replicate."""

from __future__ import annotations

import numpy as np

from genuq.analysis.inputs import Array


class Groups:
    """Samples grouped by equal values, in ascending order. With weights w_BN each row is one resampled data set."""

    def __init__(self, values_N: Array) -> None:
        self.order_N = np.argsort(values_N, kind="stable")
        ordered = values_N[self.order_N]
        first_N = np.concatenate([[True], ordered[1:] != ordered[:-1]])
        self.starts_G = np.flatnonzero(first_N)
        self.group_N = np.empty(len(values_N), dtype=np.int64)
        self.group_N[self.order_N] = np.cumsum(first_N) - 1

    def totals(self, amounts_BN: Array) -> Array:
        """(B, G) sums over each group."""
        return np.add.reduceat(amounts_BN[:, self.order_N], self.starts_G, axis=1)

    def midranks(self, weights_BN: Array) -> Array:
        """(B, N) ranks from 1, ties sharing their mean, as if every sample were repeated by its weight."""
        sizes_BG = self.totals(weights_BN)
        ranks_BG = np.cumsum(sizes_BG, axis=1) - (sizes_BG - 1) / 2
        return ranks_BG[:, self.group_N]

    def centre(self, amounts_BN: Array, weights_BN: Array) -> Array:
        """`amounts` less their weighted mean in the own group; zero in groups without weight."""
        sizes_BG = self.totals(weights_BN)
        means_BG = self.totals(amounts_BN * weights_BN) / np.maximum(sizes_BG, 1)
        return amounts_BN - means_BG[:, self.group_N]


def average_ranks(values: Array) -> Array:
    """Ranks from 1 along the last axis, ties sharing their mean; NaN for a row that has a NaN.

    SciPy's are the same; its module of statistics takes seconds to import.
    """
    if values.ndim > 1:
        return np.stack([average_ranks(row) for row in values]) if len(values) else np.empty(values.shape)
    if not len(values) or np.isnan(values).any():
        return np.full(len(values), np.nan)
    return Groups(values).midranks(np.ones((1, len(values))))[0]
