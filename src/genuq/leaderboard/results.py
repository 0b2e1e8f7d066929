"""What the leaderboard is made from: the scores of one condition's samples, and what is true of these samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Condition:
    """One cell of the benchmark.

    Attributes:
        data: name of the data set.
        sampler: name of the sampler, with what tells it from others of that name.
        seed: of the training.
    """

    data: str
    sampler: str
    seed: int

    @property
    def folder(self) -> str:
        """Where its saved set lies below that of the benchmark."""
        return f"{self.data}/{self.sampler}/seed_{self.seed}"


@dataclass(frozen=True)
class ScoreColumn:
    """One score of every sample of a set.

    Attributes:
        values: float64 (N,), higher is less to be trusted.
        label: what a reader is shown.
        kind: `score`, `baseline`, `control` or `oracle`.
        evaluations: of the network, of one sample, beside those of sampling.
        seconds: of one sample; None where they were not measured.
        needs_posterior: whether it can be had only with draws of a posterior.
    """

    values: FloatArray
    label: str
    kind: str
    evaluations: float
    seconds: float | None
    needs_posterior: bool


@dataclass(frozen=True)
class ScoredSet:
    """The scores of the N samples of one condition, and the truth.

    Attributes:
        condition: that they were made under.
        columns: the scores by name.
        faults: bool (N,) by label and kind of fault (`genuq.data.Truth.faults`), which samples have it.
        valid: bool (N,), samples without any fault.
        classes: int64 (N,) that were asked for; None where the model knows none.
        complexity: float64 (N,), bytes of the image as PNG; None for points.
        clusters: int64 (N,), labels of samples that were drawn together: the seed of their noise.
        sampling_evaluations: of the network, of one sample, for sampling itself.
        left_out: bool (N,), samples that never count as good, and as bad for their own faults only; None: no such.
    """

    condition: Condition
    columns: Mapping[str, ScoreColumn]
    faults: Mapping[str, BoolArray]
    valid: BoolArray
    classes: IntArray | None
    complexity: FloatArray | None
    clusters: IntArray
    sampling_evaluations: float
    left_out: BoolArray | None = None
