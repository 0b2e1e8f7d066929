"""Guidance as branches and a combination: what the network is asked for at one state, and what is made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from genuq.processes import Process

NULL, OWN, GUIDE = "null", "own", "guide"
"""A branch: of the null row (class), of the row that the sample was asked for with, or of that by a second network."""

Weights = Callable[[float, Tensor], Sequence[float]]
Combine = Callable[[Sequence[Tensor], float, Tensor], Tensor]
Term = Callable[[Tensor, Tensor, Tensor], Tensor]
Ask = Callable[[Tensor, Tensor, Tensor | None, Tensor | None], Tensor]
"""(states x (B, ...), t (B,), classes (B,), what the network is told of the time) -> its answer."""


@dataclass(frozen=True)
class Guidance:
    """The prediction that a sampler goes on with, of the predictions of several branches.

    Whatever the guidance, a scale of 1 asks for the own branch alone.

    Attributes:
        name: in messages.
        weights: (scale, t (B,)) -> the weight of each branch, where the combination is affine; propagators carry the
            head's features by the same weights.
        combine: (predictions of the branches, scale, t (B,)) -> prediction, where it is not affine.
        branches: `null`, `own` and `guide`, in the order in which the network sees them.
        term: (states x (B, ...), t (B,), classes (B,)) -> what is added scale - 1 times, which the network has no part
            in; propagators follow it by differences, and its own evaluations are not counted.
    """

    name: str
    weights: Weights | None = None
    combine: Combine | None = None
    branches: tuple[str, ...] = (NULL, OWN)
    term: Term | None = None

    def __post_init__(self) -> None:
        assert (self.weights is None) != (self.combine is None), "either weights or a function"

    @property
    def of_the_network(self) -> tuple[str, ...]:
        """The branches that the model's own network answers."""
        return tuple(branch for branch in self.branches if branch != GUIDE)

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


def by_branches(
    guidance: Guidance,
    ask: Ask,
    labels: Mapping[str, Tensor | None],
    x: Tensor,
    t_B: Tensor,
    scale: float,
    told_B: Tensor | None,
    apart: bool = False,
    guide: Ask | None = None,
) -> tuple[Tensor, Tensor]:
    """(the guided prediction (B, ...), what the own branch says behind its prediction).

    Args:
        ask: the network, whose answer has at least as many channels as the states.
        labels: the classes (B,) of each branch; None of a model without.
        told_B: what the network is told of the time; None: what the process says.
        apart: each branch in a pass of its own, not all in one.
        guide: the second network.
    """
    channels, own = x.shape[1], guidance.of_the_network
    parts = {}
    if apart or len(own) == 1:
        parts = {branch: ask(x, t_B, labels[branch], told_B) for branch in own}
    else:
        count, classes = len(own), [label for branch in own if (label := labels[branch]) is not None]
        told = None if told_B is None else torch.cat([told_B] * count)
        answers = ask(torch.cat([x] * count), torch.cat([t_B] * count), torch.cat(classes), told).chunk(count)
        parts = dict(zip(own, answers))
    if GUIDE in guidance.branches:
        assert guide is not None, "a second network"
        parts[GUIDE] = guide(x, t_B, labels[GUIDE], told_B)
    found = guidance([parts[branch][:, :channels] for branch in guidance.branches], scale, t_B)
    y_B = labels[OWN]
    if guidance.term is not None and y_B is not None:
        found = found + (scale - 1) * guidance.term(x, t_B, y_B)
    return found, parts[OWN][:, channels:]


CLASSIFIER_FREE = Guidance("classifier-free", lambda scale, t_B: (1 - scale, scale))
"""(1 - s) f(null) + s f(own). Source: Ho & Salimans 2022."""


def by_classifier(log_probability: Term, process: Process) -> Guidance:
    """Epsilon less (s - 1) sigma times the gradient of log p(y | x_t), by a classifier of noised samples.

    With the classifier that the network itself implies this is classifier-free guidance of the same scale.
    Source: Dhariwal & Nichol 2021, algorithm 2, whose gradient scale is s - 1.

    Args:
        log_probability: (x_t (B, ...), t (B,), classes (B,)) -> log p(y | x_t) (B,), up to a constant.
        process: of the network, which predicts epsilon.
    """

    def term(x: Tensor, t_B: Tensor, y_B: Tensor) -> Tensor:
        followed = x.requires_grad and torch.is_grad_enabled()
        with torch.enable_grad():
            state = x.view_as(x)  # not detached: whoever differentiates the prediction differentiates this too
            state = state if followed else state.requires_grad_()
            chosen = log_probability(state, t_B, y_B).sum()
            (gradient,) = torch.autograd.grad(chosen, state, create_graph=followed)
        return gradient * -process.sigma(t_B).to(x).reshape(-1, *[1] * (x.ndim - 1))

    return Guidance("classifier", lambda scale, t_B: (1.0,), branches=(OWN,), term=term)


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
