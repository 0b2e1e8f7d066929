"""KFAC: the curvature of each layer as a Kronecker product of its inputs' and its output gradients' second moments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor, nn

from genuq.models.head import find_head
from genuq.models.offloaded import parameters_of
from genuq.parts.bounds import Items, OneOf, check
from genuq.posteriors.base import Scale
from genuq.posteriors.curvature.gram_sums import GramSums
from genuq.posteriors.curvature.head import Head, for_variances
from genuq.posteriors.curvature.layer_choice import ALL
from genuq.posteriors.curvature.layers import LayersPosterior, require_proper
from genuq.posteriors.register import POSTERIORS

APPROXIMATIONS = ("expand", "reduce")
ADDED = "added/"  # what stands before the names of sums that are not in the factors yet


class Decomposition(NamedTuple):
    """Eigenvalues and eigenvectors (columns) of a layer's two factors; the curvature is their Kronecker product."""

    inputs_K: Tensor
    input_vectors_KK: Tensor
    gradients_O: Tensor
    gradient_vectors_OO: Tensor

    def eigenvalues(self) -> Tensor:
        """Of the summed curvature, (O, K)."""
        return torch.outer(self.gradients_O, self.inputs_K)

    def rotated(self, matrices_OK: Tensor) -> Tensor:
        """Matrices (..., O, K) in the basis of the eigenvectors."""
        return self.gradient_vectors_OO.T @ matrices_OK @ self.input_vectors_KK

    def rotated_back(self, matrices_OK: Tensor) -> Tensor:
        return self.gradient_vectors_OO @ matrices_OK @ self.input_vectors_KK.T


@POSTERIORS.add(
    label="KFAC Laplace",
    description="A Gaussian over the weights of chosen layers; each layer's curvature is a Kronecker product of what "
    "enters it and the gradients that leave it.",
)
class KFACLaplace(LayersPosterior):
    """N(w_map, (tau A (x) G / s^2 + lambda I)^-1) in each layer.

    `expand`: A = mean over images and positions of a_p a_p^T, G = sum over them of g_p g_p^T, g_p the gradient at the
    layer's output of the prediction against standard normal numbers. `reduce`: A from the positions' mean of a_p, G
    from their sum of g_p. Expand is exact for a single linear layer, and for the last one under squared error; reduce
    for one whose outputs are averaged over positions.

    Args:
        network: with its trained weights.
        layers: names or patterns, or `all`.
        approximation: `expand` or `reduce`.

    Attributes:
        closed_form: `predictive_variance` exists: the network's last layer is the only one covered.

    Source: Martens & Grosse 2015; Grosse & Martens 2016; expand and reduce: Eschenhagen et al. 2023.
    """

    kind = "kfac"

    def __init__(
        self,
        network: nn.Module,
        layers: str | Annotated[Sequence[str], Items()] = ALL,
        approximation: Annotated[str, OneOf(*APPROXIMATIONS)] = "expand",
    ) -> None:
        check("posterior.approximation", approximation, Annotated[str, OneOf(*APPROXIMATIONS)])
        self.approximation = approximation
        super().__init__(network, layers)
        self.closed_form = self.layer_names == [find_head(network, None)]
        self._grams: dict[str, GramSums] = {}  # of the layers' inputs, not in the sums yet
        self._decompositions: dict[str, Decomposition] = {}
        self._spread_OK: dict[str, Tensor] = {}  # standard deviations along the eigenvectors

    def options(self) -> dict[str, Any]:
        return {**super().options(), "approximation": self.approximation}

    # Sums

    def empty(self) -> dict[str, Tensor]:
        shapes = {name: ((head.inputs,) * 2, (head.outputs,) * 2, ()) for name, head in self.heads.items()}
        return {
            key: torch.zeros(shape, dtype=torch.float64)
            for name in self.heads
            for key, shape in zip(_keys(name), shapes[name])
        }

    def statistics(self, name: str, features: Tensor, gradients: Tensor) -> dict[str, Tensor]:
        head = self.heads[name]
        draws, images = gradients.shape[:2]
        inputs, outputs, terms = _keys(name)
        if self.approximation == "expand":
            values = gradients.to(self.products(name))
            arrived = torch.stack([head.outer(draw) for draw in values]).double().mean(0)
            return {outputs: arrived, terms: torch.tensor(gradients[0].numel() // head.outputs)}
        at_output = gradients.double()
        mean_BK = _mean_input(head, features.double(), at_output[0])
        flat = _by_position(at_output, head).sum(2).flatten(0, 1)
        return {inputs: mean_BK.T @ mean_BK, outputs: flat.T @ flat / draws, terms: torch.tensor(images)}

    def added(self, name: str, features: Tensor) -> None:
        if self.approximation == "expand":
            if name not in self._grams:
                self._grams[name] = self.heads[name].gram_sums(self.products(name))
            self._grams[name].add(features)

    def products(self, name: str) -> torch.dtype:
        """Precision in which values are multiplied before they are summed in float64.

        That of the layer, at least float32: its rounding is far below what one factor for each side leaves out. Where
        the curvature is exact, and variances in closed form, float64.
        """
        stored = parameters_of(self.heads[name].layer)["weight"].dtype
        return torch.float64 if self.closed_form or stored == torch.float64 else torch.float32

    def sums(self) -> dict[str, Tensor]:
        for name in list(self._grams):
            self._sums[_keys(name)[0]] += self._grams.pop(name).matrix()
        return super().sums()

    def running(self) -> dict[str, Tensor]:
        added = {f"{ADDED}{name}/{key}": v for name, gram in self._grams.items() for key, v in gram.state().items()}
        return {**self._sums, **added}

    def resume(self, running: Mapping[str, Tensor], n_seen: int) -> None:
        self.restore(running, n_seen)
        states: dict[str, dict[str, Tensor]] = {}
        for place in [place for place in running if place.startswith(ADDED)]:
            name, _, key = place.removeprefix(ADDED).rpartition("/")
            states.setdefault(name, {})[key] = running[place]
        for name, state in states.items():
            self._grams[name] = self.heads[name].gram_sums(self.products(name))
            self._grams[name].load(state)

    def saw(self, count: int) -> None:
        super().saw(count)
        self._decompositions.clear()

    def restore(self, sums: Mapping[str, Tensor], n_seen: int) -> None:
        super().restore(sums, n_seen)
        self._grams.clear()
        self._decompositions.clear()

    # Curvature

    def factors(self, name: str) -> tuple[Tensor, Tensor]:
        """(A (K, K), G (O, O)) of one layer, whose Kronecker product is the summed curvature."""
        gram, arrived, terms = (self.sums()[key] for key in _keys(name))
        return gram / terms.clamp(min=1), arrived

    def curvature_trace(self, name: str) -> float:
        gram, arrived = self.factors(name)
        return float(gram.trace() * arrived.trace())

    def decomposition(self, name: str) -> Decomposition:
        """Of one layer's factors, made once for all scales."""
        if name not in self._decompositions:
            (inputs, input_vectors), (gradients, gradient_vectors) = map(torch.linalg.eigh, self.factors(name))
            self._decompositions[name] = Decomposition(
                inputs.clamp(min=0), input_vectors, gradients.clamp(min=0), gradient_vectors
            )
        return self._decompositions[name]

    def spectrum(self) -> list[tuple[Tensor, float]]:
        return [(self.decomposition(name).eigenvalues(), 1.0) for name in self.heads]

    def squared_norm(self, name: str, gradients_BOK: Tensor, ridge: float) -> float:
        device, products = gradients_BOK.device, self.products(name)
        basis = Decomposition(*(part.to(device) for part in self.decomposition(name)))
        rotated_BOK = Decomposition(*(part.to(products) for part in basis)).rotated(gradients_BOK.to(products))
        return float((rotated_BOK.double().square() / (basis.eigenvalues() + ridge)).sum())

    # Draws

    def factorise(self, scale: Scale) -> None:
        spread = {}
        for name in self.heads:
            precision_OK = self.weight(scale) * self.decomposition(name).eigenvalues() + scale.prior_precision
            require_proper(precision_OK, name, scale)
            spread[name] = precision_OK.rsqrt()
        self._spread_OK = spread

    def deviation(self, name: str, normal_OK: Tensor) -> Tensor:
        """The covariance's symmetric root times the numbers: the same whichever eigenvectors a solver picks."""
        basis = self.decomposition(name)
        return basis.rotated_back(basis.rotated(normal_OK) * self._spread_OK[name])

    def variance(self, name: str) -> Tensor:
        basis = self.decomposition(name)
        squared = self._spread_OK[name].square()
        return basis.gradient_vectors_OO.square() @ squared @ basis.input_vectors_KK.square().T

    def mean_variance(self) -> float:
        self.require_final()
        return sum(float(spread_OK.square().sum()) for spread_OK in self._spread_OK.values()) / self.moved()

    def covariance(self, name: str) -> Tensor:
        """Posterior covariance of one layer's weights, (O, K, O, K)."""
        self.require_final()
        basis = self.decomposition(name)
        squared, rows, columns = self._spread_OK[name].square(), basis.gradient_vectors_OO, basis.input_vectors_KK
        return torch.einsum("oi,kj,ij,pi,lj->okpl", rows, columns, squared, rows, columns)

    def predictive_variance(self, features: Tensor) -> Tensor:
        """Variance of the head's output, in its layout: sum_ij U_oi^2 (v_j a_p)^2 var_ij, v_j the eigenvectors of A."""
        if not self.closed_form:
            return super().predictive_variance(features)
        self.require_final()
        (name,) = self.heads
        basis = self.decomposition(name)
        weights_OK = basis.gradient_vectors_OO.square() @ self._spread_OK[name].square()
        return self.heads[name].square_sums(for_variances(features), basis.input_vectors_KK.T, weights_OK)


def _keys(name: str) -> tuple[str, str, str]:
    """Of a layer's sums: a a^T, g g^T, and how many a were summed."""
    return f"inputs/{name}", f"gradients/{name}", f"terms/{name}"


def _by_position(gradients: Tensor, head: Head) -> Tensor:
    """(S, B, ...) in the layout of the layer's output as (S, B, P, O)."""
    axis = head.channel_axis if head.channel_axis < 0 else head.channel_axis + 1
    last = gradients.movedim(axis, -1)
    return last.reshape(*last.shape[:2], -1, head.outputs)


def _mean_input(head: Head, features: Tensor, gradients: Tensor) -> Tensor:
    """Mean over positions of a_p, (B, K)."""
    ones = torch.ones_like(gradients.narrow(head.channel_axis, 0, 1))
    return head.gradients(features, ones)[:, 0] / ones.shape[1:].numel()
