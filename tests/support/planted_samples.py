"""Samples of which every third lies off the manifold, and who judges them."""

from __future__ import annotations

import numpy as np

from genuq.analysis import SubsetJudge

COUNT, DIMENSION, K = 240, 4, 4


def planted(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reals, fakes of which every third is far from the manifold, and which those are."""
    source = np.random.default_rng(seed)
    bad = np.arange(COUNT) % 3 == 0
    fake = source.normal(size=(COUNT, DIMENSION)) + 2.0 * bad[:, None]
    return source.normal(size=(500, DIMENSION)), fake, bad


REAL, FAKE, BAD = planted()
JUDGE = SubsetJudge(FAKE, REAL, K)
NOISE = np.random.default_rng(9).normal(size=COUNT)
