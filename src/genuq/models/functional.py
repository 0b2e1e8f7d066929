"""Layers that make their weight anew in every forward pass (normalised, times a gain) as plain layers of that weight.

A posterior is over weights that are stored. Of a trained network the weight that such a layer uses is constant, so that
a plain layer which stores it gives the same answers.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from genuq.errors import ConfigurationError

OnePass = Callable[[nn.Module], Tensor]
_PLAIN = (nn.Conv2d, nn.Linear)
_CONVOLVED = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_PRODUCTS = (torch.matmul, torch.mm, Tensor.matmul, Tensor.__matmul__, Tensor.mm)
_ROUNDED = 1e-5  # relative, of a whole pass


class PlainConv2d(nn.Conv2d):
    """A Conv2d in place of a layer that took more than its input (a gain), which is in its weight now."""

    def forward(self, input: Tensor, *others: Any, **named: Any) -> Tensor:
        bias = None if self.bias is None else self.bias.to(input.dtype)
        return self._conv_forward(input, self.weight.to(input.dtype), bias)


class PlainLinear(nn.Linear):
    """A Linear in place of a layer that took more than its input."""

    def forward(self, input: Tensor, *others: Any, **named: Any) -> Tensor:
        bias = None if self.bias is None else self.bias.to(input.dtype)
        return functional.linear(input, self.weight.to(input.dtype), bias)


def is_plain(layer: nn.Module) -> bool:
    """Whether it is a Conv2d or Linear that stores its weight and runs as torch has it."""
    if not isinstance(layer, _PLAIN) or "weight" not in dict(layer.named_parameters(recurse=False)):
        return False
    return type(layer).forward in (nn.Conv2d.forward, nn.Linear.forward, PlainConv2d.forward, PlainLinear.forward)


def may_make_its_weight(layer: nn.Module) -> bool:
    """Whether it has matrices of its own and is no plain layer of torch's: one of a user's, or a parametrised one."""
    if is_plain(layer) or isinstance(layer, nn.Embedding):
        return False
    alone = isinstance(layer, _PLAIN) or not any(layer.children())
    return alone and any(value.ndim >= 2 for value in layer.parameters())


def with_plain_layers(network: nn.Module, passes: Sequence[OnePass], needed: str | None = None) -> nn.Module:
    """A copy of a network in which layers that make their weight anew in every pass (weight normalisation, magnitude
    preservation, a gain) are a Conv2d or Linear that stores it, for posteriors over it and fine-tunings of it.

    The copy shares all other weights. Layers whose weight is not the same in every pass stay as they are.

    Args:
        network: in evaluation mode; it stays as it is. It comes back itself where it has no such layers.
        passes: each runs a network at a state, time and class of its own: `lambda network: network(x, t, y)`. Two or
            more notice a weight that changes with them.
        needed: dotted name of a layer that has to become plain.

    Raises:
        ConfigurationError: the layer that is needed cannot, with the reason; or the copy gives other answers.
    """
    runs = _watched(network, passes)
    reasons = {name: run.why_not() for name, run in runs.items()}
    if needed is not None and reasons.get(needed, "is never run") is not None:
        raise ConfigurationError(not_plain(network, needed, reasons.get(needed, "is never run")))
    made = {name: runs[name].plain() for name, reason in reasons.items() if reason is None}
    if not made:
        return network
    changed = _replaced(network, made)
    for one_pass in passes:
        with torch.no_grad():
            expected, found = one_pass(network), one_pass(changed)
        if not torch.allclose(found, expected, rtol=_ROUNDED, atol=_ROUNDED * float(expected.abs().max())):
            raise ConfigurationError(
                f"{type(network).__name__} gives other answers with plain layers in place of {', '.join(made)}: it "
                "is not the same function in every pass. Put it into evaluation mode, or give it plain layers."
            )
    return changed


def not_plain(network: nn.Module, name: str, reason: str | None = None) -> str:
    """What is said of a head that is no plain layer, and what to do."""
    kind = type(network.get_submodule(name)).__name__
    return (
        f"the last weighted layer of {type(network).__name__} is '{name}', a {kind}, which "
        f"{reason or 'makes its weight anew in every pass'}: a posterior needs a layer that stores the weight it uses. "
        "Give the network an nn.Conv2d or nn.Linear with that weight there (genuq.models.with_plain_layers does it "
        "for a weight that is the same in every pass), or name another layer as the model's head for posteriors over "
        "named layers."
    )


@dataclass
class _Product:
    """One convolution or matrix product.

    Attributes:
        weight, bias: as they entered it; a weight (O, ...).
        settings: of the convolution; None: a matrix product.
        result: what it gave.
    """

    weight: Tensor
    bias: Tensor | None
    settings: dict[str, Any] | None
    result: Tensor

    def same_layer(self, other: _Product) -> bool:
        biases = (self.bias, other.bias)
        same = torch.equal(biases[0], biases[1]) if None not in biases else biases[0] is biases[1]  # type: ignore[arg-type]
        return same and self.settings == other.settings and torch.equal(self.weight, other.weight)


@dataclass
class _Runs:
    """What a layer did in the passes.

    Attributes:
        first: its product in the first run.
        reason: why no plain layer does the same.
    """

    layer: nn.Module
    first: _Product | None = None
    reason: str | None = None

    def add(self, products: Sequence[_Product], output: object) -> None:
        """Take note of a run."""
        self.reason = self.reason or self._why_not(products, output)
        if products and self.first is None:
            self.first = products[0]

    def why_not(self) -> str | None:
        """Why no plain layer does the same; None: one does."""
        return "is never run" if self.reason is self.first is None else self.reason

    def _why_not(self, products: Sequence[_Product], output: object) -> str | None:
        if len(products) != 1:
            return "computes something else than one convolution or matrix product"
        (product,) = products
        if product.weight.numel() not in [value.numel() for value in self.layer.parameters()]:
            return "multiplies by what is no weight of its own"
        if self.first is not None and not product.same_layer(self.first):
            return "has another weight in every pass"
        if not isinstance(output, Tensor) or not torch.equal(product.result, output):
            return "changes what its convolution or matrix product gives"
        return None

    def plain(self) -> nn.Module:
        """A plain layer that stores the weight."""
        product = self.first
        assert product is not None
        stored = next(value.dtype for value in self.layer.parameters() if value.ndim >= 2)
        weight = product.weight.to(stored)
        outputs, inputs = weight.shape[0], weight.shape[1]
        bias, device = product.bias is not None, weight.device
        made: nn.Conv2d | nn.Linear
        if product.settings is None:
            made = PlainLinear(inputs, outputs, bias, device=device, dtype=stored)
        else:
            groups = product.settings["groups"]
            sides = (weight.shape[2], weight.shape[3])
            made = PlainConv2d(
                inputs * groups, outputs, sides, bias=bias, device=device, dtype=stored, **product.settings
            )
        made.weight = nn.Parameter(weight)
        if product.bias is not None:
            made.bias = nn.Parameter(product.bias.to(stored))
        return made.train(self.layer.training)


class _Watching(TorchFunctionMode):
    """Notes the products of the layer that runs."""

    def __init__(self) -> None:
        super().__init__()
        self.running: list[list[_Product]] = []

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        result = function(*args, **given)
        if self.running:
            self.running[-1].extend(_product(function, args, given, result))
        return result


def _product(function: Any, args: tuple[Any, ...], given: Mapping[str, Any], result: Tensor) -> list[_Product]:
    """The product that a function of torch is, if it is one."""
    if function is functional.conv2d:
        told = dict(zip(_CONVOLVED, args)) | dict(given)
        settings = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
        settings = {name: told.get(name, usual) for name, usual in settings.items()}
        return [_Product(_kept(told["weight"]), _kept(told.get("bias")), settings, result.detach())]
    if function is functional.linear:
        told = dict(zip(_CONVOLVED, args)) | dict(given)
        return [_Product(_kept(told["weight"]), _kept(told.get("bias")), None, result.detach())]
    if function in _PRODUCTS and len(args) == 2 and args[1].ndim == 2:
        return [_Product(_kept(args[1].T), None, None, result.detach())]
    return []


def _kept(value: Any) -> Any:
    return None if value is None else value.detach().clone().contiguous()


@torch.no_grad()
def _watched(network: nn.Module, passes: Sequence[OnePass]) -> dict[str, _Runs]:
    """What the layers that may make their weight did in the passes."""
    runs = {name: _Runs(layer) for name, layer in network.named_modules() if may_make_its_weight(layer)}
    if not runs:
        return {}
    watching = _Watching()
    with contextlib.ExitStack() as stack:
        for run in runs.values():
            stack.enter_context(_noted(run, watching))
        stack.enter_context(watching)
        for one_pass in passes:
            one_pass(network)
    return runs


@contextlib.contextmanager
def _noted(run: _Runs, watching: _Watching) -> Iterator[None]:
    def before(*_: object) -> None:
        watching.running.append([])

    def after(module: nn.Module, inputs: object, output: Any) -> None:
        run.add(watching.running.pop(), output)

    handles = [run.layer.register_forward_pre_hook(before), run.layer.register_forward_hook(after)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _replaced(network: nn.Module, made: Mapping[str, nn.Module]) -> nn.Module:
    """A copy of the network, of the same weights, with other layers under these names."""
    instead = {id(network.get_submodule(name)): layer for name, layer in made.items()}
    places = [(name, id(part)) for name, part in network.named_modules(remove_duplicate=False) if id(part) in instead]
    changed = copy.deepcopy(network, {id(value): value for value in network.parameters()})
    for name, own in places:
        above, _, last = name.rpartition(".")
        setattr(changed.get_submodule(above), last, instead[own])
    return changed
