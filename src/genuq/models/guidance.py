"""Guidance as branches and a combination: what the network is asked for at one state, and what is made of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

NULL, OWN = "null", "own"
"""A branch: of the null row (class), or of the row that the sample was asked for with."""

Weights = Callable[[float, Tensor], Sequence[float]]
Combine = Callable[[Sequence[Tensor], float, Tensor], Tensor]


@dataclass(frozen=True)
class Guidance:
    """The prediction that a sampler goes on with, of the predictions of several branches.

    Whatever the guidance, a scale of 1 asks for the own branch alone.

    Attributes:
        name: in messages.
        weights: (scale, t (B,)) -> the weight of each branch, where the combination is affine; propagators carry the
            head's features by the same weights.
        combine: (predictions of the branches, scale, t (B,)) -> prediction, where it is not affine.
        branches: `null` and `own`, in the order in which the network sees them.
    """

    name: str
    weights: Weights | None = None
    combine: Combine | None = None
    branches: tuple[str, ...] = (NULL, OWN)

    def __post_init__(self) -> None:
        assert (self.weights is None) != (self.combine is None), "either weights or a function"

    @property
    def affine(self) -> bool:
        return self.weights is not None

    def __call__(self, parts: Sequence[Tensor], scale: float, t_B: Tensor) -> Tensor:
        """The prediction (B, ...) of those of the branches, each (B, ...)."""
        if self.combine is not None:
            return self.combine(parts, scale, t_B)
        assert self.weights is not None
        return weighted(parts, self.weights(scale, t_B))


def weighted(parts: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """The sum of weight times part; a difference that is nought stays so where two weights add up to one."""
    if len(parts) == 2 and weights[0] == 1 - weights[1]:
        if parts[0].dtype.itemsize < 4:  # rounded after each operation, as pipelines in half precision do
            return parts[0] + weights[1] * (parts[1] - parts[0])
        return torch.lerp(parts[0], parts[1], weights[1])
    total = weights[0] * parts[0]
    for weight, part in zip(weights[1:], parts[1:]):
        total = total + weight * part
    return total


CLASSIFIER_FREE = Guidance("classifier-free", lambda scale, t_B: (1 - scale, scale))
"""(1 - s) f(null) + s f(own). Source: Ho & Salimans 2022."""


def renormalised(
    name: str,
    view: Callable[[Tensor], Tensor] = lambda part: part,
    back: Callable[[Tensor], Tensor] = lambda part: part,
) -> Guidance:
    """Classifier-free guidance whose result has the norm of the own branch, along the last axis.

    Args:
        view: a prediction in the layout whose last axis counts (patches).
        back: the inverse of `view`.
    """

    def combine(parts: Sequence[Tensor], scale: float, t_B: Tensor) -> Tensor:
        null, own = (view(part) for part in parts)
        guided = null + scale * (own - null)
        wanted, found = (part.norm(dim=-1, keepdim=True) for part in (own, guided))
        return back(guided * (wanted / found))

    return Guidance(name, combine=combine)
