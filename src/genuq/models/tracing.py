"""Which layer is the head: the last weighted layer that runs and whose output arrives in the prediction."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from genuq.errors import ConfigurationError
from genuq.models.functional import may_make_its_weight

_NONE = "no Conv2d or Linear layer of {} reaches its prediction. Give its name as model.head."


@torch.no_grad()
def traced_head(network: nn.Module, evaluate: Callable[[], Tensor]) -> str:
    """The dotted name of the last weighted layer of a forward pass whose output reaches the prediction: a Conv2d, a
    Linear, or a layer that makes its weight itself.

    The order of registration need not be that of running, and what runs last need not arrive (a learned variance).

    Args:
        evaluate: a forward pass through the network; it is repeated, at least twice.

    Raises:
        ConfigurationError: no such layer.
    """
    order = _order(network, evaluate)
    for name in reversed(order):
        if _arrives(network.get_submodule(name), evaluate):
            return name
    raise ConfigurationError(_NONE.format(type(network).__name__))


def linked_head(network: nn.Module, evaluate: Callable[[], Tensor]) -> str:
    """`traced_head` of a network without numbers, on torch's meta device: the last layer whose output autograd links to
    the prediction. One whose output is dropped behind, as channels of a learned variance are, counts too.

    Args:
        evaluate: a forward pass through the network, which runs once.

    Raises:
        ConfigurationError: no such layer.
    """
    outputs: dict[str, Tensor] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            outputs.pop(name, None)
            if isinstance(output, Tensor):
                outputs[name] = output

        return hook

    with contextlib.ExitStack() as stack, torch.enable_grad():
        for name, layer in _layers(network).items():
            stack.enter_context(_hooked(layer, note(name)))
        prediction = evaluate().sum()
    for name in reversed(outputs):
        if outputs[name].requires_grad and _linked(prediction, outputs[name]):
            return name
    raise ConfigurationError(_NONE.format(type(network).__name__))


def _linked(prediction: Tensor, output: Tensor) -> bool:
    (gradient,) = torch.autograd.grad(prediction, output, retain_graph=True, allow_unused=True)
    return gradient is not None


def _layers(network: nn.Module) -> dict[str, nn.Module]:
    found = network.named_modules()
    return {name: part for name, part in found if isinstance(part, nn.Conv2d | nn.Linear) or may_make_its_weight(part)}


def _order(network: nn.Module, evaluate: Callable[[], Tensor]) -> list[str]:
    """The layers that a forward pass runs, by when they ran last."""
    found: dict[str, None] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(*_: object) -> None:
            found.pop(name, None)
            found[name] = None

        return hook

    with contextlib.ExitStack() as stack:
        for name, layer in _layers(network).items():
            stack.enter_context(_hooked(layer, note(name)))
        evaluate()
    return list(found)


def _arrives(layer: nn.Module, evaluate: Callable[[], Tensor]) -> bool:
    """Whether the prediction has NaN where the layer gives NaN."""
    with _hooked(layer, lambda module, inputs, output: _lost(output)):
        return bool(evaluate().isnan().any())


def _lost(output: object) -> Tensor | None:
    return torch.full_like(output, torch.nan) if isinstance(output, Tensor) else None


@contextlib.contextmanager
def _hooked(layer: nn.Module, hook: Callable[..., Tensor | None]) -> Iterator[None]:
    handle = layer.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
