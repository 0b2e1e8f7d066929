"""Metrics of generated against real samples, on features of any extractor, in bounded memory and exact to float64.

Functions take whole sets; the classes are torchmetrics modules that take batches and work across processes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genuq.metrics.frechet import (
    GaussianStatistics,
    SmallSampleWarning,
    frechet_distance,
    frechet_from_statistics,
    frechet_to_reference,
    small_sample_text,
)
from genuq.metrics.kernel import kernel_distance
from genuq.metrics.labels import MetricLabel
from genuq.metrics.manifold import (
    Neighbourhood,
    PrecisionRecall,
    knn_radii,
    membership,
    neighbourhood,
    precision_recall,
    rarity,
    realism,
)
from genuq.metrics.reference import Gaussian, read_statistics

if TYPE_CHECKING:
    from genuq.metrics.streaming import FrechetDistance, KernelDistance, PrecisionRecallDensityCoverage

__all__ = [
    "FrechetDistance",
    "Gaussian",
    "GaussianStatistics",
    "KernelDistance",
    "MetricLabel",
    "Neighbourhood",
    "PrecisionRecall",
    "PrecisionRecallDensityCoverage",
    "SmallSampleWarning",
    "frechet_distance",
    "frechet_from_statistics",
    "frechet_to_reference",
    "kernel_distance",
    "knn_radii",
    "membership",
    "neighbourhood",
    "precision_recall",
    "rarity",
    "read_statistics",
    "realism",
    "small_sample_text",
]


def __getattr__(name: str) -> Any:
    """The torchmetrics modules, on first use: importing torchmetrics takes seconds that the functions do not need."""
    if name not in {"FrechetDistance", "KernelDistance", "PrecisionRecallDensityCoverage"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from genuq.metrics import streaming

    return getattr(streaming, name)
