"""Watching the head while the network runs, and checking what stands behind it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genuq.errors import ConfigurationError
from genuq.models import GenerativeModel


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
        return record.output

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
        ConfigurationError: the forward pass does not reach the head.
    """
    with captured(model.head) as record:
        prediction = model(x, t_B, y_B)
    if record.features is None or record.output is None:
        raise ConfigurationError(f"the forward pass never reached model.head = '{model.head_name}'.")
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
        ConfigurationError: something else stands behind the head, so that the exact last-layer identity fails.
    """
    prediction, _, output = head_features(model, x, t_B, y_B)
    sent = torch.randn(prediction.shape, generator=torch.Generator().manual_seed(0)).to(prediction)
    with torch.enable_grad():
        (arrived,) = torch.autograd.grad(prediction, output, sent)
    values = arrived[arrived != 0]
    if values.numel() != sent.numel() or not torch.equal(values.sort().values, sent.flatten().sort().values):
        raise ConfigurationError(
            f"what follows model.head = '{model.head_name}' is not a mere rearrangement of its outputs (a weighted "
            "layer, a residual or a scaling follows). Choose the last weighted layer as model.head."
        )
    axis = arrived.ndim - 1 if isinstance(model.head, nn.Linear) else 1
    return (arrived != 0).transpose(0, axis).flatten(1).any(1).cpu()
