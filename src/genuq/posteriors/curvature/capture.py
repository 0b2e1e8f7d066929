"""Watching layers while the network runs: their inputs, their outputs, and what the prediction sends back to them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from genuq.errors import ConfigurationError
from genuq.models import GenerativeModel
from genuq.posteriors.curvature.head import Head, head_of
from genuq.posteriors.curvature.layer_geometry import geometry_of

_ROUNDED = 1e-5  # relative; what moves numbers no more than this only rearranges them


@dataclass
class Capture:
    """The input of each watched layer, and its output as a node of the prediction's graph."""

    features: dict[str, Tensor] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)


@contextlib.contextmanager
def captured(layers: Mapping[str, nn.Module], key: str) -> Iterator[Capture]:
    """Record the layers' inputs and outputs during one forward pass inside; the graph starts at the first output."""
    record = Capture()
    handles = [handle for name, layer in layers.items() for handle in _watch(layer, name, record, key)]
    try:
        with torch.no_grad():
            yield record
    finally:
        for handle in handles:
            handle.remove()


def _watch(layer: nn.Module, name: str, record: Capture, key: str) -> list[torch.utils.hooks.RemovableHandle]:
    def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if name in record.features:
            raise ConfigurationError(
                f"{key} = '{name}' runs more than once in a forward pass; choose layers that run once."
            )
        own = inputs[0].clone()  # the network may change what it gave in place: h += layer(h)
        record.features[name] = own.detach()
        return own, *inputs[1:]

    def after(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        torch.set_grad_enabled(True)  # only for what follows; the no_grad outside ends it
        record.outputs[name] = output if output.requires_grad else output.detach().requires_grad_()
        return record.outputs[name].clone()  # what follows may change it in place

    return [layer.register_forward_pre_hook(before), layer.register_forward_hook(after)]


def layer_features(
    model: GenerativeModel,
    names: Sequence[str],
    x: Tensor,
    t_B: Tensor,
    y_B: Tensor | None,
    key: str = "posterior.layers",
) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """One forward pass: the prediction, and inputs and outputs of the layers called `names`.

    The outputs are nodes of the prediction's graph, for `fisher_gradients` and `residual_gradients`. Nothing before
    the first of the layers builds a graph.

    Args:
        key: the configuration key that chose the layers, for messages.

    Raises:
        ConfigurationError: a layer that the forward pass does not reach, reaches twice, or gives other rows than
            images.
    """
    with captured({name: model.network.get_submodule(name) for name in names}, key) as record:
        prediction = model(x, t_B, y_B)
    for name in names:
        if name not in record.outputs:
            raise ConfigurationError(f"the forward pass never reached {key} = '{name}'.")
        rows = len(record.features[name])
        if rows != len(x):
            raise ConfigurationError(
                f"{key} = '{name}' sees {rows} rows for {len(x)} images; its input must be (B, ..., C) with the "
                "images first, or what one image tells could not be counted."
            )
    return prediction, record.features, record.outputs


def head_features(model: GenerativeModel, x: Tensor, t_B: Tensor, y_B: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """(prediction, head input, head output as the leaf of the prediction's graph) of one forward pass.

    Raises:
        ConfigurationError: the forward pass does not reach the head, or gives it other rows than images.
    """
    name = model.head_name
    prediction, features, outputs = layer_features(model, [name], x, t_B, y_B, "model.head")
    return prediction, features[name], outputs[name]


def fisher_gradients(prediction: Tensor, outputs: Mapping[str, Tensor], normal: Tensor) -> dict[str, Tensor]:
    """Output gradients of a Monte-Carlo Fisher at s^2 = 1: a pseudo-target f + s xi leaves the gradient xi / s.

    Args:
        prediction, outputs: of `layer_features`.
        normal: xi, standard normal, in the prediction's shape (B, ...), or (S, B, ...) for S draws.
    Returns:
        for each layer, the gradient of <f, xi> at its output, with S in front where `normal` has it. Zeros where
        nothing arrives.
    """
    if normal.ndim == prediction.ndim:
        return _sent_back(prediction, outputs, normal)
    draws = [_sent_back(prediction, outputs, numbers) for numbers in normal]
    return {name: torch.stack([draw[name] for draw in draws]) for name in outputs}


def residual_gradients(
    prediction: Tensor, target: Tensor, outputs: Mapping[str, Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """(residual f - target, the gradient of half its square at each layer's output)."""
    residual = prediction.detach() - target
    return residual, _sent_back(prediction, outputs, residual)


def _sent_back(prediction: Tensor, outputs: Mapping[str, Tensor], numbers: Tensor) -> dict[str, Tensor]:
    """What arrives at the layers' outputs; the weights' own gradients are never computed."""
    if not prediction.requires_grad:
        return {name: torch.zeros_like(output) for name, output in outputs.items()}
    with torch.enable_grad():
        arrived = torch.autograd.grad(
            prediction, list(outputs.values()), numbers, retain_graph=True, materialize_grads=True
        )
    return dict(zip(outputs, arrived))


def unsuitable_layers(
    model: GenerativeModel, names: Sequence[str], x: Tensor, t_B: Tensor, y_B: Tensor | None
) -> dict[str, str]:
    """The layers that a posterior over several layers cannot cover, with the reason, found in two forward passes."""
    rows = _rows_of_runs(model, names, x, t_B, y_B)
    reasons = {name: reason for name in names if (reason := _why_not_counted(rows[name], len(x)))}
    others = [name for name in names if name not in reasons]
    if others:
        _, features, outputs = layer_features(model, others, x, t_B, y_B)
        for name in others:
            if not _is_linear(geometry_of(model.network.get_submodule(name)), features[name], outputs[name]):
                reasons[name] = "does not compute W a + b from its weight and bias"
    return reasons


@torch.no_grad()
def _rows_of_runs(
    model: GenerativeModel, names: Sequence[str], x: Tensor, t_B: Tensor, y_B: Tensor | None
) -> dict[str, list[int]]:
    """How many rows each layer sees, each time that it runs in one forward pass."""
    rows: dict[str, list[int]] = {name: [] for name in names}
    handles = [
        model.network.get_submodule(name).register_forward_pre_hook(
            lambda module, inputs, seen=seen: seen.append(len(inputs[0]))
        )
        for name, seen in rows.items()
    ]
    try:
        model(x, t_B, y_B)
    finally:
        for handle in handles:
            handle.remove()
    return rows


def _why_not_counted(rows: Sequence[int], images: int) -> str | None:
    if not rows:
        return "is never run in a forward pass"
    if len(rows) > 1:
        return "runs more than once in a forward pass"
    return None if rows[0] == images else f"sees {rows[0]} rows for {images} images"


def check_layers(model: GenerativeModel, names: Sequence[str], x: Tensor, t_B: Tensor, y_B: Tensor | None) -> None:
    """Refuse, before any long work, layers that a posterior over several layers cannot cover.

    Raises:
        ConfigurationError: as `layer_features`, a layer that does not compute W a + b from its weight and bias, or a
            prediction that depends on none of them.
    """
    prediction, features, outputs = layer_features(model, names, x, t_B, y_B)
    if not prediction.requires_grad:
        raise ConfigurationError(f"the prediction does not depend on posterior.layers = {list(names)}.")
    for name in names:
        head = geometry_of(model.network.get_submodule(name))
        _require_linear(head, f"posterior.layers = '{name}'", features[name], outputs[name])


def residuals_at_head(prediction: Tensor, target: Tensor, head_output: Tensor) -> tuple[Tensor, Tensor]:
    """(residual f - target, its gradient at the head's output): the same numbers rearranged, behind a rearrangement."""
    residual, gradients = residual_gradients(prediction, target, {"head": head_output})
    return residual, gradients["head"]


def active_outputs(model: GenerativeModel, x: Tensor, t_B: Tensor, y_B: Tensor | None) -> Tensor:
    """Which of the head's output channels reach the prediction, bool (O,).

    Sends random numbers back from the prediction to the head: behind a rearrangement (pixel shuffle, unpatchify,
    dropped channels) exactly these numbers arrive, elsewhere zeros.

    Raises:
        ConfigurationError: the exact last-layer identity fails, because the head is not a plain linear layer,
            something else stands behind it, or some of its positions are dropped.
    """
    prediction, features, output = head_features(model, x, t_B, y_B)
    _require_linear(head_of(model.head), f"model.head = '{model.head_name}'", features, output)
    if not prediction.requires_grad:
        raise ConfigurationError(f"the prediction does not depend on model.head = '{model.head_name}'.")
    numbers = torch.rand(prediction.shape, generator=torch.Generator().manual_seed(0))
    sent = (1 + numbers).to(output.dtype).to(prediction)  # in no precision is one zero; what follows may be finer
    with torch.enable_grad():
        (arrived,) = torch.autograd.grad(prediction, output, sent)
    arrived_OR = arrived.movedim(head_of(model.head).channel_axis, 0).flatten(1)
    active_O = (arrived_OR != 0).any(1)
    _require_rearrangement(model.head_name, sent, arrived_OR[active_O])
    return active_O.cpu()


def _require_linear(head: Head, what: str, features: Tensor, output: Tensor) -> None:
    """Refuse a subclass of Conv2d or Linear that computes something else."""
    if not _is_linear(head, features, output):
        raise ConfigurationError(
            f"{what}, a {type(head.layer).__name__}, does not compute W a + b from its weight and bias; a posterior "
            "needs a plain Conv2d or Linear."
        )


def _is_linear(head: Head, features: Tensor, output: Tensor) -> bool:
    expected = head.project(features.double(), head.matrix().to(features.device))
    tolerance = 0.1 if output.dtype in (torch.float16, torch.bfloat16) else 0.01
    return not bool((output - expected).abs().max() > tolerance * expected.abs().max())


def _require_rearrangement(head_name: str, sent: Tensor, arrived_OR: Tensor) -> None:
    """Refuse anything else behind the head; arrived_OR holds the active channels at all their positions."""
    values = arrived_OR[arrived_OR != 0]
    # up to the rounding of a known factor that a `call` divides out again (EDM's c_out)
    if values.numel() != sent.numel() or not torch.allclose(
        values.sort().values.to(sent), sent.flatten().sort().values, rtol=_ROUNDED, atol=0.0
    ):
        raise ConfigurationError(
            f"what follows model.head = '{head_name}' is not a mere rearrangement of its outputs (a weighted layer, a "
            "scaling or a nonlinearity follows). Choose the last weighted layer as model.head."
        )
    if values.numel() != arrived_OR.numel():
        raise ConfigurationError(
            f"some positions of model.head = '{head_name}' are dropped behind it (a crop, or extra tokens), but would "
            "count as data. Drop them before the head."
        )
