"""Diagonal Laplace over a random part of the weights of many layers; the others stay as trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from genuq.errors import ConfigurationError
from genuq.parts.bounds import Count, Items, Seed, Share
from genuq.posteriors.base import Scale
from genuq.posteriors.curvature.layer_choice import ALL
from genuq.posteriors.curvature.layers import LayersPosterior, require_proper
from genuq.posteriors.register import POSTERIORS
from genuq.randomness import SUBSET, generator


@POSTERIORS.add(
    label="Subnetwork Laplace",
    description="A Gaussian over a random part of the network's weights; the others stay as trained.",
)
class SubnetworkLaplace(LayersPosterior):
    """N(w_map, diag(tau c / s^2 + lambda)^-1) over randomly chosen weights, c = sum_n (sum_p g_p a_p)^2.

    g is the gradient, at the layer's output, of the prediction against standard normal numbers, so that c is the
    diagonal of the GGN up to Monte-Carlo noise.

    Args:
        network: with its trained weights.
        layers: names or patterns, or `all`.
        fraction: share of each layer's weights, biases included; 0.1 where neither this nor `weights` is given.
        weights: how many in all instead, spread over the layers by their size.
        subset_seed: keys the choice within each layer; a smaller subset is part of a larger one.

    Raises:
        ConfigurationError: also a share or a number that the layers do not have, or both.

    Source: random subnetworks: FLARE, arXiv 2602.09170; diagonal over a subnetwork: Daxberger et al. 2021.
    """

    kind = "subnetwork_laplace"

    def __init__(
        self,
        network: nn.Module,
        layers: str | Annotated[Sequence[str], Items()] = ALL,
        fraction: Share | None = None,
        weights: Count | None = None,
        subset_seed: Seed = 0,
    ) -> None:
        if fraction is not None and weights is not None:
            raise ConfigurationError(
                f"posterior.fraction = {fraction} and posterior.weights = {weights} exclude each other: give one."
            )
        self.fraction = 0.1 if fraction is None and weights is None else fraction
        self.weights, self.subset_seed = weights, subset_seed
        super().__init__(network, layers)
        self._variance_S: dict[str, Tensor] = {}

    def choose_weights(self, sizes: dict[str, int]) -> dict[str, Tensor]:
        """Indices into the flat weights (O * K) of each layer."""
        counts = _share(self.weights, sizes) if self.weights is not None else _fraction(self.fraction, sizes)
        chosen = {}
        for name, size in sizes.items():
            order = torch.randperm(size, generator=generator(self.subset_seed, 0, f"{SUBSET}, {name}"))
            chosen[name] = order[: counts[name]].sort().values
        return chosen

    def options(self) -> dict[str, Any]:
        own = {"fraction": self.fraction, "weights": self.weights, "subset_seed": self.subset_seed}
        return {**super().options(), **own}

    def empty(self) -> dict[str, Tensor]:
        self.chosen_S = self.choose_weights({name: mean_OK.numel() for name, mean_OK in self.means.items()})
        return {_key(name): torch.zeros(len(index_S), dtype=torch.float64) for name, index_S in self.chosen_S.items()}

    def statistics(self, name: str, features: Tensor, gradients: Tensor) -> dict[str, Tensor]:
        inputs, head = features.double(), self.heads[name]
        squares = [self._of(name, head.gradients(inputs, draw.double())).square().sum(0) for draw in gradients]
        return {_key(name): torch.stack(squares).mean(0)}

    def _of(self, name: str, matrices_BOK: Tensor) -> Tensor:
        """The chosen weights' entries, (B, S)."""
        return matrices_BOK.flatten(1)[:, self.chosen_S[name].to(matrices_BOK.device)]

    # Curvature

    def curvature(self, name: str) -> Tensor:
        """c of one layer's chosen weights, (S,)."""
        return self._sums[_key(name)]

    def curvature_trace(self, name: str) -> float:
        return float(self.curvature(name).sum())

    def spectrum(self) -> list[tuple[Tensor, float]]:
        return [(self.curvature(name), 1.0) for name in self.heads]

    def squared_norm(self, name: str, gradients_BOK: Tensor, ridge: float) -> float:
        squares_BS = self._of(name, gradients_BOK).square()
        return float((squares_BS / (self.curvature(name).to(squares_BS) + ridge)).sum())

    def moved(self) -> int:
        return sum(len(index_S) for index_S in self.chosen_S.values())

    def mean_square(self) -> float:
        return sum(float(self._of(n, mean_OK[None]).square().sum()) for n, mean_OK in self.means.items()) / self.moved()

    # Draws

    def factorise(self, scale: Scale) -> None:
        variance_S = {}
        for name in self.heads:
            precision_S = self.weight(scale) * self.curvature(name) + scale.prior_precision
            require_proper(precision_S, name, scale)
            variance_S[name] = 1 / precision_S
        self._variance_S = variance_S

    def deviation(self, name: str, normal_OK: Tensor) -> Tensor:
        return normal_OK * self.variance(name).sqrt()

    def variance(self, name: str) -> Tensor:
        variance = torch.zeros(self.means[name].numel(), dtype=torch.float64)
        variance[self.chosen_S[name]] = self._variance_S[name]
        return variance.reshape(self.means[name].shape)


def _key(name: str) -> str:
    return f"curvature/{name}"


def _fraction(fraction: float | None, sizes: dict[str, int]) -> dict[str, int]:
    """How many weights of each layer: at least one, whichever other layers take part."""
    if fraction is None or not 0 < fraction <= 1:
        raise ConfigurationError(f"posterior.fraction = {fraction}; it must lie above 0 and be at most 1.")
    return {name: max(1, round(fraction * size)) for name, size in sizes.items()}


def _share(weights: int, sizes: dict[str, int]) -> dict[str, int]:
    """`weights` in all, by the layers' sizes; what rounding down leaves goes to the largest remainders."""
    total = sum(sizes.values())
    if not 0 < weights <= total:
        raise ConfigurationError(f"posterior.weights = {weights}; the chosen layers have 1 to {total} of them.")
    counts = {name: weights * size // total for name, size in sizes.items()}
    by_remainder = sorted(sizes, key=lambda name: -(weights * sizes[name] % total))
    for name in by_remainder[: weights - sum(counts.values())]:
        counts[name] += 1
    return counts
