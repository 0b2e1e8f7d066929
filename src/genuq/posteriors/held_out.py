"""What held-out images tell of the scale: sums that add up over batches and processes."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from genuq.posteriors.base import CurvaturePosterior
from genuq.posteriors.last_layer import LastLayerPosterior

FACTORS = torch.logspace(-3, 5, 65, dtype=torch.float64)  # of the covariance, tried by the predictive criterion
RIDGE = 1e-6  # of the mean eigenvalue, where the curvature is inverted without a prior


def ridge_of(posterior: CurvaturePosterior) -> float:
    """What keeps the summed curvature invertible without a prior."""
    return RIDGE * posterior.mean_eigenvalue()


class HeldOutSums:
    """Sums over held-out images, additive over batches and processes; T bins of time.

    Args:
        inputs: K of the head; 0 for posteriors over several layers.
        bins: T, equal in width, over [0, 1].

    Attributes:
        squared_residual_T: sum of (f - target)^2.
        elements_T: how many residuals.
        gradient_outer_TKK: sum over images and active channels of g g^T, g = sum_p r_p a_p.
        mahalanobis: sum over images of g^T (C + ridge)^-1 g, for posteriors over several layers.
        expected: the same sum for standard normal residuals.
        images: how many images.
    """

    def __init__(self, inputs: int, bins: int = 1) -> None:
        self.squared_residual_T = torch.zeros(bins, dtype=torch.float64)
        self.elements_T = torch.zeros(bins, dtype=torch.float64)
        self.gradient_outer_TKK = torch.zeros(bins, inputs, inputs, dtype=torch.float64)
        self.mahalanobis, self.expected, self.images = 0.0, 0.0, 0

    @property
    def bins(self) -> int:
        return len(self.elements_T)

    def update(
        self,
        posterior: LastLayerPosterior,
        features: Tensor,
        residual: Tensor,
        at_head: Tensor,
        bin_B: Tensor | None = None,
    ) -> None:
        """Add a batch: head inputs, f - target, the same sent back to the head's output, and each image's bin."""
        bin_B = self.add_residuals(residual, bin_B)
        gradients_BOK = posterior.head.gradients(features.double(), at_head.double())
        active_BOK = gradients_BOK[:, posterior.active_O.to(features.device)]
        for number in bin_B.unique().tolist():
            flat = active_BOK[bin_B.to(features.device) == number].flatten(0, 1)
            self.gradient_outer_TKK[number] += (flat.T @ flat).cpu()

    def add_residuals(self, residual: Tensor, bin_B: Tensor | None = None) -> Tensor:
        """Add the residuals (B, ...) alone; returns each image's bin."""
        bin_B = torch.zeros(len(residual), dtype=torch.long) if bin_B is None else bin_B.cpu()
        squares_B = residual.double().square().flatten(1).sum(1).cpu()
        self.squared_residual_T.index_add_(0, bin_B, squares_B)
        self.elements_T.index_add_(0, bin_B, torch.full_like(squares_B, residual[0].numel()))
        self.images += len(residual)
        return bin_B

    @property
    def residual_variance(self) -> float:
        return float(self.squared_residual_T.sum() / self.elements_T.sum())

    def residual_variances(self) -> Tensor:
        """Residual variance of each bin, (T,); of all of them where a bin saw nothing."""
        empty_T = self.elements_T == 0
        return torch.where(
            empty_T, self.residual_variance, self.squared_residual_T / self.elements_T.masked_fill(empty_T, 1)
        )

    def gradient_outer(self, weights_T: Tensor) -> Tensor:
        """Sum of g g^T with the images of bin T weighted, (K, K)."""
        return torch.einsum("t,tkl->kl", weights_T.square(), self.gradient_outer_TKK)

    def sums(self) -> dict[str, Tensor]:
        counts = torch.tensor([self.mahalanobis, self.expected, self.images], dtype=torch.float64)
        return {
            "squared_residual": self.squared_residual_T,
            "elements": self.elements_T,
            "gradient_outer": self.gradient_outer_TKK,
            "counts": counts,
        }

    def restore(self, sums: Mapping[str, Tensor]) -> None:
        self.squared_residual_T, self.elements_T = sums["squared_residual"], sums["elements"]
        self.gradient_outer_TKK = sums["gradient_outer"]
        self.mahalanobis, self.expected = (float(value) for value in sums["counts"][:2])
        self.images = int(sums["counts"][2])


class PredictiveCurve:
    """Held-out log predictive density, per element, with the posterior's covariance multiplied by each of `FACTORS`.

    log N(target; f + sqrt(k) d, s^2 + k v): v the variance of predictions under the posterior and d their mean
    deviation from f, both at k = 1. Exact for a linear head; elsewhere first order in the weights.
    """

    def __init__(self) -> None:
        self.log_density_G = torch.zeros_like(FACTORS)
        self.elements = 0.0

    def update(self, residual: Tensor, variance: Tensor, noise_B: Tensor, shift: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            residual: f - target, (B, ...).
            variance: v, of the same shape.
            noise_B: s^2 of each image.
            shift: d, of the same shape; None means zero.
        """
        residual, variance = residual.double().cpu(), variance.double().cpu()
        noise = noise_B.double().cpu().reshape(-1, *[1] * (residual.ndim - 1))
        for number, factor in enumerate(FACTORS.tolist()):
            total = noise + factor * variance
            error = residual if shift is None else residual + math.sqrt(factor) * shift.double().cpu()
            density = -0.5 * (total.log() + math.log(2 * math.pi) + error.square() / total)
            self.log_density_G[number] += density.sum()
        self.elements += residual.numel()

    def curve(self) -> Tensor:
        """Mean log density per element at each factor, (G,)."""
        return self.log_density_G / self.elements

    def best(self) -> float:
        """The factor with the highest held-out density."""
        return float(FACTORS[int(self.log_density_G.argmax())])

    def sums(self) -> dict[str, Tensor]:
        return {
            "log_density": self.log_density_G,
            "predictive_elements": torch.tensor([self.elements], dtype=torch.float64),
        }

    def restore(self, sums: Mapping[str, Tensor]) -> None:
        self.log_density_G, self.elements = sums["log_density"], float(sums["predictive_elements"])
