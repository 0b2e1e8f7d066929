"""Bootstrap replicates of samples that belong together: whole clusters are drawn, and the mix of classes stays."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from genuq.analysis.inputs import Array, Column, class_column
from genuq.analysis.intervals import BATCH_NUMBERS
from genuq.randomness import key


class Resampling:
    """Draws clusters with replacement, as integer weights of the samples.

    Where each cluster lies in one class, clusters are drawn within the classes, which keep their sizes if clusters have
    one size. A cluster that spans several classes, such as a noise seed that was used for every class, carries its
    classes with it, and all clusters are drawn together.

    Args:
        count: N, the number of samples.
        clusters: (N,) labels of samples that are drawn together; None: each sample for itself.
        classes: (N,) labels; None: one class.
    """

    def __init__(self, count: int, clusters: Column | None = None, classes: Column | None = None) -> None:
        codes_N = np.arange(count) if clusters is None else class_column(clusters, count)
        classes_N = np.zeros(count, dtype=np.int64) if classes is None else class_column(classes, count)
        stratum_C = _strata(codes_N, classes_N)
        order_C = np.argsort(stratum_C, kind="stable")
        sizes_S = np.bincount(stratum_C)
        place_C = np.empty(len(order_C), dtype=np.int64)
        place_C[order_C] = np.arange(len(order_C))
        self.count, self.place_N = count, place_C[codes_N]
        self.size_C = np.repeat(sizes_S, sizes_S)  # of its stratum, for each cluster in the order of strata
        self.start_C = np.repeat(np.cumsum(sizes_S) - sizes_S, sizes_S)

    def weights(self, replicates: int, seed: int) -> Iterator[Array]:
        """Yield (b, N) weights, `replicates` rows in all; the same seed draws the same ones."""
        clusters = len(self.size_C)
        rows = max(1, BATCH_NUMBERS // self.count)
        source = np.random.default_rng(key(seed, self.count, "cluster bootstrap"))
        for first in range(0, replicates, rows):
            size = min(rows, replicates - first)
            drawn = self.start_C + (source.random((size, clusters)) * self.size_C).astype(np.int64)
            flat = (drawn + clusters * np.arange(size)[:, None]).ravel()
            weights_BC = np.bincount(flat, minlength=size * clusters).reshape(size, clusters)
            yield weights_BC[:, self.place_N].astype(np.float64)


def _strata(codes_N: Array, classes_N: Array) -> Array:
    """(C,) the class of each cluster; one stratum where any cluster has several."""
    first_C = np.zeros(codes_N.max(initial=-1) + 1, dtype=np.int64)
    first_C[codes_N] = classes_N
    return first_C if np.array_equal(first_C[codes_N], classes_N) else np.zeros_like(first_C)
