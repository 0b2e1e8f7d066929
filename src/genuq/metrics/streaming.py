"""The same metrics as torchmetrics modules: fed batch by batch, summed or gathered across processes at `compute`."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat

from genuq.errors import DataError
from genuq.metrics.checks import Features, feature_matrix, require_count
from genuq.metrics.frechet import GaussianStatistics, frechet_from_statistics
from genuq.metrics.kernel import kernel_distance
from genuq.metrics.manifold import precision_recall


class FrechetDistance(Metric):
    """Frechet distance of all features seen. The state of each set is its count, mean and scatter around that mean, in
    float64: sums of x and x x^T would lose a variance that is small beside the mean.

    Args:
        dimension: D of the features.
    """

    higher_is_better = False
    full_state_update = False

    def __init__(self, dimension: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dimension = dimension
        for name in ("real", "fake"):
            empty = GaussianStatistics(dimension).as_vector()
            self.add_state(name, empty, dist_reduce_fx=partial(merged, dimension=dimension))

    def update(self, features: Features, real: bool) -> None:
        """Add (B, D) features of real or of generated samples."""
        batch_BD = feature_matrix(features, "features")
        if batch_BD.shape[1] != self.dimension:
            raise DataError(
                f"This metric takes features of dimension {self.dimension}, not {batch_BD.shape[1]}. "
                "Construct it with the dimension of the extractor (key metric.extractor)."
            )
        name = "real" if real else "fake"
        state = self._statistics(name).update(batch_BD).as_vector()
        setattr(self, name, state.to(getattr(self, name).device))

    def compute(self) -> Tensor:
        """Scalar float64."""
        return torch.tensor(
            frechet_from_statistics(*self._moments("real"), *self._moments("fake")), dtype=torch.float64
        )

    def _statistics(self, name: str) -> GaussianStatistics:
        return GaussianStatistics.from_vector(getattr(self, name), self.dimension)

    def _moments(self, name: str) -> tuple[Tensor, Tensor]:
        found = self._statistics(name)
        require_count(found.count, 2, f"{name} samples", "for a covariance", "call update more often")
        return found.mean_D, found.covariance_DD


def merged(vectors: Tensor, dimension: int) -> Tensor:
    """The statistics of several sets as those of their union: vectors (K, 1 + D + D^2) of `as_vector` to one."""
    whole = GaussianStatistics(dimension)
    for vector in vectors:
        whole.merge(GaussianStatistics.from_vector(vector, dimension))
    return whole.as_vector().to(vectors.device)


class _Gathered(Metric):
    """Keeps the features of both sets in their own precision, for metrics of pairs of samples."""

    full_state_update = False
    real_features: list[Tensor]
    fake_features: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("real_features", [], dist_reduce_fx="cat")
        self.add_state("fake_features", [], dist_reduce_fx="cat")

    def update(self, features: Features, real: bool) -> None:
        """Add (B, D) features of real or of generated samples."""
        (self.real_features if real else self.fake_features).append(feature_matrix(features, "features"))

    def _sets(self) -> tuple[Tensor, Tensor]:
        for name, parts in (("real", self.real_features), ("fake", self.fake_features)):
            require_count(len(parts), 1, f"batches of {name} features", "for a metric", "call update first")
        return dim_zero_cat(self.real_features), dim_zero_cat(self.fake_features)


class KernelDistance(_Gathered):
    """Kernel distance of all features seen; the options are those of `kernel_distance`."""

    higher_is_better = False

    def __init__(self, subsets: int | None = None, subset_size: int = 1000, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.options: dict[str, Any] = {"subsets": subsets, "subset_size": subset_size, "seed": seed}

    def compute(self) -> Tensor:
        """Scalar float64."""
        return torch.tensor(kernel_distance(*self._sets(), **self.options), dtype=torch.float64)


class PrecisionRecallDensityCoverage(_Gathered):
    """The four manifold metrics of all features seen.

    Args:
        k: neighbours that set the radius of a ball.
    """

    higher_is_better = True

    def __init__(self, k: int = 5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.k = k

    def compute(self) -> dict[str, Tensor]:
        """Scalars by name: precision, recall, density, coverage."""
        values = precision_recall(*self._sets(), self.k)._asdict()
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}
