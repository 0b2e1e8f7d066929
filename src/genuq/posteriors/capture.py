"""Watching the head while the network runs, and checking what stands behind it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genuq.errors import ConfigurationError
from genuq.models import GenerativeModel
from genuq.posteriors.head import head_of


@dataclass
class Capture:
    """The head's input and, as the leaf of a graph over what stands behind the head, its output."""

    features: Tensor | None = None
    output: Tensor | None = None


@contextlib.contextmanager
def captured(head: nn.Module) -> Iterator[Capture]:
    """Record the head's input and output during the forward passes inside; the trunk builds no graph."""
    record = Capture()

    def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if record.features is not None:
            raise ConfigurationError("model.head runs more than once in a forward pass; choose a layer that runs once.")
        record.features = inputs[0].detach()

    def after(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        torch.set_grad_enabled(True)  # only for what follows the head; the no_grad outside ends it
        record.output = output.detach().requires_grad_()
        return record.output.clone()  # a leaf could not be changed in place by what follows

    handles = [head.register_forward_pre_hook(before), head.register_forward_hook(after)]
    try:
        with torch.no_grad():
            yield record
    finally:
        for handle in handles:
            handle.remove()


def head_features(model: GenerativeModel, x: Tensor, t_B: Tensor, y_B: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """(prediction, head input, head output as the leaf of the prediction's graph) of one forward pass.

    Raises:
        ConfigurationError: the forward pass does not reach the head, or gives it other rows than images.
    """
    with captured(model.head) as record:
        prediction = model(x, t_B, y_B)
    if record.features is None or record.output is None:
        raise ConfigurationError(f"the forward pass never reached model.head = '{model.head_name}'.")
    if len(record.features) != len(x):
        raise ConfigurationError(
            f"model.head = '{model.head_name}' sees {len(record.features)} rows for {len(x)} images; its input must be "
            "(B, ..., C) with the images first, or what one image tells could not be counted."
        )
    return prediction, record.features, record.output


def residuals_at_head(prediction: Tensor, target: Tensor, head_output: Tensor) -> tuple[Tensor, Tensor]:
    """(residual f - target, its gradient at the head's output): the same numbers rearranged, behind a rearrangement."""
    residual = prediction.detach() - target
    with torch.enable_grad():
        (at_head,) = torch.autograd.grad(prediction, head_output, residual)
    return residual, at_head


def active_outputs(model: GenerativeModel, x: Tensor, t_B: Tensor, y_B: Tensor | None) -> Tensor:
    """Which of the head's output channels reach the prediction, bool (O,).

    Sends random numbers back from the prediction to the head: behind a rearrangement (pixel shuffle, unpatchify,
    dropped channels) exactly these numbers arrive, elsewhere zeros.

    Raises:
        ConfigurationError: the exact last-layer identity fails, because the head is not a plain linear layer,
            something else stands behind it, or some of its positions are dropped.
    """
    prediction, features, output = head_features(model, x, t_B, y_B)
    _require_linear(model, features, output)
    if not prediction.requires_grad:
        raise ConfigurationError(f"the prediction does not depend on model.head = '{model.head_name}'.")
    numbers = torch.rand(prediction.shape, generator=torch.Generator().manual_seed(0))
    sent = (1 + numbers).to(prediction)  # in no precision is one of them zero
    with torch.enable_grad():
        (arrived,) = torch.autograd.grad(prediction, output, sent)
    arrived_OR = arrived.movedim(head_of(model.head).channel_axis, 0).flatten(1)
    active_O = (arrived_OR != 0).any(1)
    _require_rearrangement(model.head_name, sent, arrived_OR[active_O])
    return active_O.cpu()


def _require_linear(model: GenerativeModel, features: Tensor, output: Tensor) -> None:
    """Refuse a subclass of Conv2d or Linear that computes something else."""
    head = head_of(model.head)
    expected = head.project(features.double(), head.matrix().to(features.device))
    tolerance = 0.1 if output.dtype in (torch.float16, torch.bfloat16) else 0.01
    if (output - expected).abs().max() > tolerance * expected.abs().max():
        raise ConfigurationError(
            f"model.head = '{model.head_name}', a {type(model.head).__name__}, does not compute W a + b from its "
            "weight and bias; a last-layer posterior needs a plain Conv2d or Linear."
        )


def _require_rearrangement(head_name: str, sent: Tensor, arrived_OR: Tensor) -> None:
    """Refuse anything else behind the head; arrived_OR holds the active channels at all their positions."""
    values = arrived_OR[arrived_OR != 0]
    if values.numel() != sent.numel() or not torch.equal(values.sort().values, sent.flatten().sort().values):
        raise ConfigurationError(
            f"what follows model.head = '{head_name}' is not a mere rearrangement of its outputs (a weighted layer, a "
            "scaling or a nonlinearity follows). Choose the last weighted layer as model.head."
        )
    if values.numel() != arrived_OR.numel():
        raise ConfigurationError(
            f"some positions of model.head = '{head_name}' are dropped behind it (a crop, or extra tokens), but would "
            "count as data. Drop them before the head."
        )
