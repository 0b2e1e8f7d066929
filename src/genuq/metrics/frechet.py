"""Frechet distance between Gaussians fitted to two sets of features (FID in Inception's feature space).

Source: Heusel et al., GANs Trained by a Two Time-Scale Update Rule, NeurIPS 2017, eq. 6.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from genuq.errors import DataError
from genuq.metrics.checks import Features, feature_matrix, feature_pair, require_count
from genuq.metrics.distances import row_slices
from genuq.metrics.reference import Gaussian, require_dimension

CHUNK_ROWS = 4096
FAR = 1e3  # times what rounding may be: a pivot that is told from it
NEGLIGIBLE = 1e-12  # share of a sum


class SmallSampleWarning(UserWarning):
    """A metric was computed from so few samples that its value is biased."""


def small_sample_text(samples: int, dimension: int) -> str | None:
    """A sentence when FID of `samples` samples in `dimension` features is biased, else None."""
    if samples > dimension:
        return None
    return (
        f"FID of N = {samples} samples in D = {dimension} features has a singular covariance (N <= D) and is biased "
        "upwards: compare it only at equal N, take more samples, or judge in a smaller space (key metric.extractor)."
    )


class GaussianStatistics:
    """Streaming mean and covariance in float64; parts computed anywhere merge into the whole.

    Source: Chan, Golub, LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample Variances, 1979.
    """

    def __init__(self, dimension: int) -> None:
        self.count = 0
        self.mean_D = torch.zeros(dimension, dtype=torch.float64)
        self.scatter_DD = torch.zeros(dimension, dimension, dtype=torch.float64)

    @classmethod
    def of(cls, features: Features) -> GaussianStatistics:
        features_ND = feature_matrix(features, "features")
        return cls(features_ND.shape[1]).update(features_ND)

    def update(self, features: Features) -> GaussianStatistics:
        """Add (N, D) features."""
        features_ND = feature_matrix(features, "features")
        self._require_dimension(features_ND.shape[1])
        for rows in row_slices(len(features_ND), CHUNK_ROWS):
            chunk = features_ND[rows].to("cpu", torch.float64)
            mean = chunk.mean(0)
            centred = (chunk - mean).numpy()
            # numpy, which computes half of a product of an array with itself transposed; torch computes all of it
            self._add(len(chunk), mean, torch.from_numpy(centred.T @ centred))
        return self

    def merge(self, other: GaussianStatistics) -> GaussianStatistics:
        """Add what `other` has seen."""
        self._require_dimension(len(other.mean_D))
        self._add(other.count, other.mean_D, other.scatter_DD)
        return self

    def as_vector(self) -> Tensor:
        """Count, mean and scatter as one vector (1 + D + D^2,), as processes exchange it."""
        return torch.cat([torch.tensor([self.count], dtype=torch.float64), self.mean_D, self.scatter_DD.flatten()])

    @classmethod
    def from_vector(cls, vector: Tensor, dimension: int) -> GaussianStatistics:
        """What `as_vector` made of it."""
        count, mean_D, scatter = vector.to("cpu", torch.float64).split([1, dimension, dimension**2])
        found = cls(dimension)
        found.count, found.mean_D, found.scatter_DD = int(count), mean_D, scatter.reshape(dimension, dimension)
        return found

    @property
    def covariance_DD(self) -> Tensor:
        """Unbiased covariance (divided by N - 1)."""
        require_count(self.count, 2, "samples", "for a covariance", "give more")
        return self.scatter_DD / (self.count - 1)

    def _add(self, count: int, mean_D: Tensor, scatter_DD: Tensor) -> None:
        if count == 0:
            return
        total, shift_D = self.count + count, mean_D - self.mean_D
        self.scatter_DD = self.scatter_DD + scatter_DD + torch.outer(shift_D, shift_D) * (self.count * count / total)
        self.mean_D = self.mean_D + shift_D * (count / total)
        self.count = total

    def _require_dimension(self, dimension: int) -> None:
        if dimension != len(self.mean_D):
            raise DataError(
                f"Statistics of dimension {len(self.mean_D)} cannot take features of dimension {dimension}. "
                "Use one extractor for all (key metric.extractor)."
            )


def symmetric_root(matrix_DD: Tensor) -> Tensor:
    """Positive semi-definite square root; eigenvalues that rounding made negative count as zero."""
    values_D, vectors_DD = torch.linalg.eigh(matrix_DD)
    return (vectors_DD * values_D.clamp_min(0).sqrt()) @ vectors_DD.T


def _factor(matrix_DD: Tensor) -> Tensor:
    """A (D, rank) with A A^T the positive semi-definite matrix; what is not told from rounding has no rank.

    Cholesky's, far cheaper than eigenvectors, where no direction comes near to being lost.
    """
    rounding = len(matrix_DD) * torch.finfo(matrix_DD.dtype).eps
    lower_DD, failed = torch.linalg.cholesky_ex(matrix_DD)
    pivots_D = lower_DD.diagonal().square()
    if not failed and pivots_D.min() > FAR * rounding * pivots_D.max():
        return lower_DD
    values_D, vectors_DD = torch.linalg.eigh(matrix_DD)
    kept_D = values_D > rounding * values_D[-1].clamp_min(0)
    return vectors_DD[:, kept_D] * values_D[kept_D].sqrt()


def _sum_of_singular_values(matrix: Tensor) -> Tensor:
    """From the eigenvalues of its Gram matrix, which are cheaper, where that loses no digit that counts."""
    values = torch.linalg.eigvalsh(matrix @ matrix.T if len(matrix) < matrix.shape[1] else matrix.T @ matrix)
    roots = values.clamp_min(0).sqrt()
    if not len(roots) or not roots[-1]:
        return roots.sum()
    error = len(roots) ** 0.5 * torch.finfo(values.dtype).eps * values[-1]  # of each, which adds up like a random walk
    lost = torch.minimum(error / (2 * roots), error.sqrt()).sum()
    return roots.sum() if lost < NEGLIGIBLE * roots.sum() else torch.linalg.svdvals(matrix).sum()


def frechet_from_statistics(mean1: Tensor, covariance1: Tensor, mean2: Tensor, covariance2: Tensor) -> float:
    """Squared Frechet (2-Wasserstein) distance between N(mean1, covariance1) and N(mean2, covariance2).

    tr (S1 S2)^1/2 is the sum of the singular values of A1^T A2, S = A A^T: real by construction also for singular
    covariances, where a general matrix square root is not, and to rounding, where eigenvalues of the product would lose
    half of the digits in directions without variance. Never negative.
    """
    mean1, mean2, covariance1, covariance2 = (
        torch.as_tensor(part).to(torch.float64) for part in (mean1, mean2, covariance1, covariance2)
    )
    cross_trace = _sum_of_singular_values(_factor(covariance1).T @ _factor(covariance2))
    distance = (mean1 - mean2).square().sum() + covariance1.trace() + covariance2.trace() - 2 * cross_trace
    return max(float(distance), 0.0)


def gaussian_of(features: Features) -> Gaussian:
    """Mean and unbiased covariance of (N, D) features, in float64."""
    found = GaussianStatistics.of(features)
    return Gaussian(found.mean_D, found.covariance_DD)


def frechet_to_reference(reference: Gaussian, fake_ND: Features) -> float:
    """Frechet distance of a set of features to statistics that somebody has published; as `frechet_distance`."""
    fake = gaussian_of(fake_ND)
    require_dimension(reference, len(fake.mean_D), "of these features")
    return frechet_from_statistics(*reference, *fake)


def frechet_distance(real_ND: Features, fake_ND: Features, real: Gaussian | None = None) -> float:
    """Frechet distance between two sets of features, in squared units of the features; 0 is best.

    Args:
        real_ND, fake_ND: features of one extractor, at least two of each; statistics are taken in float64.
        real: mean and covariance of real_ND, where they are known.
    Warns:
        SmallSampleWarning: N <= D in either set, where the covariance is singular and the distance biased.
    Raises:
        DataError: not two finite matrices of one dimension.
    """
    real_ND, fake_ND = feature_pair(real_ND, fake_ND)
    text = small_sample_text(min(len(real_ND), len(fake_ND)), real_ND.shape[1])
    if text:
        warnings.warn(text, SmallSampleWarning, stacklevel=2)
    return frechet_from_statistics(*(gaussian_of(real_ND) if real is None else real), *gaussian_of(fake_ND))
