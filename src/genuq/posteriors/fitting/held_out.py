"""What held-out images tell of the scale: sums that add up over batches and processes."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from genuq.posteriors.base import CurvaturePosterior
from genuq.posteriors.last_layer import LastLayerPosterior

# Of the covariance, tried by the predictive criterion: finely where one variance serves all, coarsely for draws.
FACTORS = torch.logspace(-3, 5, 65, dtype=torch.float64)
DRAWN_FACTORS = torch.logspace(-6, 1, 15, dtype=torch.float64)
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
    """Held-out log predictive density, per element, with the posterior's covariance multiplied by each of some factors.

    log N(target; f + d, s^2 + v): v the variance of predictions under the posterior, d their mean deviation from f.
    """

    def __init__(self, factors_G: Tensor = FACTORS) -> None:
        self.factors_G = factors_G
        self.log_density_G = torch.zeros_like(factors_G)
        self.elements = 0.0

    def update(self, residual: Tensor, variance: Tensor, noise_B: Tensor) -> None:
        """Add a batch whose predictive variance is proportional to the covariance, as that of a linear head is.

        Args:
            residual: f - target, (B, ...).
            variance: v at a factor of 1, of the same shape.
            noise_B: s^2 of each image.
        """
        for number, factor in enumerate(self.factors_G.tolist()):
            self.log_density_G[number] += log_density(residual, factor * variance.double(), noise_B)
        self.elements += residual.numel()

    def update_drawn(self, residual: Tensor, deviations_GMB: Tensor, noise_B: Tensor) -> None:
        """Add a batch with the draws' deviations from f at each factor, (G, M, B, ...)."""
        for number, deviations in enumerate(deviations_GMB.double()):
            shift, variance = deviations.mean(0), deviations.var(0, correction=0)
            self.log_density_G[number] += log_density(residual + shift, variance, noise_B)
        self.elements += residual.numel()

    def curve(self) -> Tensor:
        """Mean log density per element at each factor, (G,)."""
        return self.log_density_G / self.elements

    def best(self) -> float:
        """The factor with the highest held-out density."""
        return float(self.factors_G[int(self.log_density_G.argmax())])

    def sums(self) -> dict[str, Tensor]:
        return {
            "log_density": self.log_density_G,
            "predictive_elements": torch.tensor([self.elements], dtype=torch.float64),
        }

    def restore(self, sums: Mapping[str, Tensor]) -> None:
        self.log_density_G, self.elements = sums["log_density"], float(sums["predictive_elements"])


def log_density(error: Tensor, variance: Tensor, noise_B: Tensor) -> float:
    """Summed log N(error; 0, s^2 + v) of a batch, with s^2 of each image."""
    noise = noise_B.double().to(error.device).reshape(-1, *[1] * (error.ndim - 1))
    total = noise + variance.to(error.device)
    return float((-0.5 * (total.log() + math.log(2 * math.pi) + error.double().square() / total)).sum())
