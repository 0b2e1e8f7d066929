"""Posteriors over several layers of a network, each a linear map W (O, K) of its own input.

The statistics are sums over images, so that batches, shards and processes add up.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from genuq.errors import ConfigurationError
from genuq.models.offloaded import parameters_of
from genuq.posteriors.base import CurvaturePosterior, Scale
from genuq.posteriors.curvature.head import Head
from genuq.posteriors.curvature.layer_choice import ALL, choose_layers
from genuq.posteriors.curvature.layer_geometry import geometry_of
from genuq.randomness import WEIGHTS, generator

VALUES_AT_ONCE = 2**24  # in float64 at a time: 128 MiB, whatever the batch
NEGLIGIBLE = 1e-20  # of the largest layer's curvature: what rounding leaves of squared gradients that cancel


class LayersPosterior(CurvaturePosterior):
    """A Gaussian over the parameters of Conv2d and Linear layers, centred at the trained ones; layers independent.

    Args:
        network: with its trained weights; it is read, never changed.
        layers: dotted names and glob patterns, or `all` (see `choose_layers`). Convolutions with groups or another
            padding than zeros, computed weights and tied weights cannot be covered.

    Attributes:
        heads: the geometry of each covered layer by its name.
        means: the trained parameters of each as W (O, K).
        excluded: layers that a pattern matched and that were left out, with the reason.

    Raises:
        ConfigurationError: no such layer, or one that cannot be covered.
        NonFiniteError: NaN or infinite weights.
    """

    scope = "network"
    needs = "fisher"

    def __init__(self, network: nn.Module, layers: str | Sequence[str] = ALL) -> None:
        names, self.excluded = choose_layers(network, layers)
        self.heads: dict[str, Head] = {name: geometry_of(network.get_submodule(name)) for name in names}
        super().__init__(network)
        self.means = {name: head.matrix().cpu() for name, head in self.heads.items()}
        self._sums = self.empty()

    @property
    def layer_names(self) -> list[str]:
        """Dotted names of the covered layers, in the order of registration."""
        return list(self.heads)

    def covered(self) -> dict[str, Tensor]:
        return {
            qualified(name, key): value
            for name, head in self.heads.items()
            for key, value in parameters_of(head.layer).items()
        }

    def options(self) -> dict[str, Any]:
        return {"layers": self.layer_names}

    # Sums

    def update(self, inputs: Mapping[str, Tensor], gradients: Mapping[str, Tensor] | None = None) -> None:
        """Add a batch.

        Args:
            inputs: each layer's input, (B, C, H, W) or (B, ..., C).
            gradients: standard normal numbers sent back from the prediction to each layer's output, in its layout, or
                (S, B, ...) for the mean over S draws (`capture.fisher_gradients`).
        """
        if gradients is None:
            raise ConfigurationError(f"posterior '{self.kind}' needs the output gradients of each batch.")
        for name, head in self.heads.items():
            for features, at_output in _pieces(head, inputs[name], gradients[name]):
                for key, value in self.statistics(name, features, at_output).items():
                    self._sums[key] += value.cpu()
                self.added(name, features)
        self.saw(len(inputs[self.layer_names[0]]))

    @abstractmethod
    def empty(self) -> dict[str, Tensor]:
        """Sums over no image, by keys that hold their layer's name."""

    def added(self, name: str, features: Tensor) -> None:
        """Told of images that were added, by the layer's input: for what is put together only when it is asked for."""

    @abstractmethod
    def statistics(self, name: str, features: Tensor, gradients: Tensor) -> dict[str, Tensor]:
        """What some images add to the sums of the layer `name`, in float64.

        Args:
            features: the layer's input, in its own precision.
            gradients: (S, B, ...).
        """

    def sums(self) -> dict[str, Tensor]:
        return dict(self._sums)

    def restore(self, sums: Mapping[str, Tensor], n_seen: int) -> None:
        self._sums, self.n_seen, self.scale = {key: sums[key].clone() for key in self._sums}, n_seen, None

    # Curvature

    @abstractmethod
    def curvature_trace(self, name: str) -> float:
        """Trace of the summed curvature of the layer `name`."""

    def layers_without_curvature(self) -> list[str]:
        """Layers that no gradient reached, up to rounding: the prior alone decides how far they move."""
        traces = {name: self.curvature_trace(name) for name in self.heads}
        return [name for name, trace in traces.items() if trace <= NEGLIGIBLE * max(traces.values())]

    def mean_eigenvalue(self) -> float:
        return sum(self.curvature_trace(name) for name in self.heads) / self.moved()

    def moved(self) -> int:
        """How many weights a draw moves."""
        return sum(head.outputs * head.inputs for head in self.heads.values())

    def mahalanobis(self, inputs: Mapping[str, Tensor], gradients: Mapping[str, Tensor], ridge: float) -> float:
        """sum over images of g^T (C + ridge)^-1 g, C the summed curvature and g an image's gradient of the weights.

        Args:
            inputs: each layer's input.
            gradients: of the loss at each layer's output (`capture.residual_gradients`).
            ridge: of the order of a small share of `mean_eigenvalue`.
        """
        total = 0.0
        for name, head in self.heads.items():
            for features, at_output in _pieces(head, inputs[name], gradients[name]):
                total += self.squared_norm(name, head.gradients(features.double(), at_output[0].double()), ridge)
        return total

    @abstractmethod
    def squared_norm(self, name: str, gradients_BOK: Tensor, ridge: float) -> float:
        """sum_n g_n^T (C + ridge)^-1 g_n over the weights of one layer."""

    # Draws

    @abstractmethod
    def deviation(self, name: str, normal_OK: Tensor) -> Tensor:
        """A draw's deviation of one layer from its mean, (O, K), from standard normal numbers (O, K)."""

    @abstractmethod
    def variance(self, name: str) -> Tensor:
        """Posterior variance of each weight of one layer, (O, K)."""

    def draw(self, index: int, seed: int = 0) -> dict[str, Tensor]:
        self.require_final()
        self.require_precision()
        values: dict[str, Tensor] = {}
        for name, head in self.heads.items():
            source = generator(seed, index, f"{WEIGHTS}, {name}")
            normal_OK = torch.randn(self.means[name].shape, generator=source, dtype=torch.float64)
            drawn = head.parameters(self.means[name] + self.deviation(name, normal_OK))
            values |= {qualified(name, key): value for key, value in drawn.items()}
        return values

    def squared_deviations(self, draws: int = 0, seed: int = 0) -> dict[str, float]:
        """Mean posterior variance of the entries of each covered parameter, in closed form."""
        self.require_final()
        means = {}
        for name, head in self.heads.items():
            variance_OK = self.variance(name)
            columns = head.inputs - head.bias
            means[qualified(name, "weight")] = float(variance_OK[:, :columns].mean())
            if head.bias:
                means[qualified(name, "bias")] = float(variance_OK[:, columns].mean())
        return means

    def mean_variance(self) -> float:
        self.require_final()
        return sum(float(self.variance(name).sum()) for name in self.heads) / self.moved()


def require_proper(precision: Tensor, name: str, scale: Scale) -> None:
    """Refuse a precision of the layer `name` that is not positive and finite."""
    if not bool(((precision > 0) & precision.isfinite()).all()):
        raise ConfigurationError(
            f"the posterior precision of layer '{name}' is not positive and finite at posterior.prior_precision = "
            f"{scale.prior_precision:g}. Raise it, or check the layer's inputs."
        )


def qualified(layer: str, parameter: str) -> str:
    """A parameter's name in the network; a network that is one layer calls it ''."""
    return f"{layer}.{parameter}" if layer else parameter


def _pieces(head: Head, features: Tensor, gradients: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """A few images at a time: (input (B, ...), output gradients (S, B, ...))."""
    draws = gradients if gradients.ndim > features.ndim else gradients[None]
    values = max(features.shape[1:].numel(), draws.shape[0] * draws.shape[2:].numel(), head.outputs * head.inputs)
    at_once = max(1, VALUES_AT_ONCE // values)
    return zip(features.detach().split(at_once), draws.detach().split(at_once, dim=1))
