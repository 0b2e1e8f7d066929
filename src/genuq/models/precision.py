"""The precision of a module, and half precision for a network's passes: a copy, whose head and drawn layers compute in
float32.

The weights of those layers are the network's own, not copies: a weight draw that is swapped in counts in both. Layers
take what they are given in any precision, so that what a network makes of the time, which stays float32, may go into
any of them.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Collection, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from genuq.errors import ConfigurationError
from genuq.models.offloaded import casting

FULL = "float32"
HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16}
PRECISIONS = (FULL, *HALF)
_NORMS = (nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.modules.batchnorm._NormBase)
Module = TypeVar("Module", bound=nn.Module)


class CastingLayer(nn.Module):
    """Beside a class of layers: what it is given is cast to the precision of its weights.

    Attributes:
        measured: the name of a weight that has this precision.
        hands_on: the precision of what it gives.
    """

    measured: str
    hands_on: torch.dtype

    def forward(self, *given: Any, **named: Any) -> Any:
        dtype = getattr(self, self.measured).dtype
        inputs = [cast(value, dtype) for value in given]
        found = super().forward(*inputs, **{name: cast(value, dtype) for name, value in named.items()})
        if isinstance(found, tuple):
            return tuple(cast(part, self.hands_on) for part in found)
        return cast(found, self.hands_on)


def cast(value: Any, dtype: torch.dtype) -> Any:
    """Numbers in another precision, in dictionaries and lists too; all else as it is."""
    if isinstance(value, Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    if isinstance(value, dict):
        return {name: cast(part, dtype) for name, part in value.items()}
    return [cast(part, dtype) for part in value] if isinstance(value, list) else value


class Followed:
    """Weights whose copies in half precision follow them: a draw that is swapped in is rounded before the next pass.

    Args:
        pairs: the weights, and their copies.
    """

    def __init__(self, pairs: Iterable[tuple[Tensor, Tensor]] = ()) -> None:
        self.pairs = list(pairs)
        self._seen: dict[int, tuple[Tensor, int]] = {}  # what was copied: held, so that its address is nobody else's

    def catch_up(self) -> None:
        """Copy what has changed."""
        for weight, rounded in self.pairs:
            values, version = weight.data, weight._version
            seen, of_version = self._seen.get(id(weight), (None, -1))
            if seen is None or seen.data_ptr() != values.data_ptr() or of_version != version:
                rounded.data.copy_(values)
                self._seen[id(weight)] = (values, version)


class HalfCall:
    """A model's `call` for a network in half precision: states and rows of conditioning are cast, and the answer back.

    Args:
        call: the model's own.
        followed: weights that draws move, of which the network has copies.
    """

    def __init__(self, call: Callable[..., Any], dtype: torch.dtype, followed: Followed) -> None:
        self.call, self.dtype, self.followed = call, dtype, followed

    def __call__(self, network: nn.Module, x: Tensor, t_B: Tensor, conditioning: Any) -> Any:
        self.followed.catch_up()
        return cast(self.call(network, cast(x, self.dtype), t_B, cast(conditioning, self.dtype)), x.dtype)


def half_type(precision: str, network: nn.Module) -> torch.dtype:
    """The type of a half precision by name, for a network that can have a copy in it.

    Raises:
        ConfigurationError: it is none, or the network is not in float32.
    """
    if precision not in HALF:
        raise ConfigurationError(f"precision = '{precision}' is no half precision: choose {' or '.join(HALF)}.")
    for name, value in network.named_parameters():
        if value.dtype is not torch.float32:
            raise ConfigurationError(
                f"sampler.precision = '{precision}' is for networks in float32, and weight '{name}' of "
                f"{type(network).__name__} is {str(value.dtype).removeprefix('torch.')}. Leave it at float32: the "
                "network runs in the precision that it has."
            )
    return HALF[precision]


def halved(
    network: Module, head: str, dtype: torch.dtype, drawn: Iterable[Tensor] = (), rounded: Iterable[Tensor] = ()
) -> tuple[Module, Followed]:
    """A copy of a network that computes in half precision, and which of the network's weights it follows.

    Args:
        head: dotted name of the layer that computes in float32 and hands it on.
        drawn: further weights of the network, whose layers compute in float32 and hand on half precision. The copy has
            these weights and the head's themselves.
        rounded: weights that the copy follows, unless they are among those.
    """
    kept = {id(value): value for value in (*network.get_submodule(head).parameters(), *drawn)}
    made = copy.deepcopy(network, dict(kept))
    for name, layer in made.named_modules():
        _set_precision(layer, dtype, kept, is_head=name == head)
    moved = {id(value) for value in rounded} - kept.keys()
    pairs = [(value, made.get_parameter(name)) for name, value in network.named_parameters() if id(value) in moved]
    return made, Followed(pairs)


def with_network(model: Module, network: nn.Module) -> Module:
    """The same model with another network; all else is shared, but for the model's hooks."""
    own = vars(nn.Module()).keys()
    shared = [*(value for name, value in vars(model).items() if name not in own), *model.children()]
    return copy.deepcopy(model, {id(value): value for value in shared} | {id(model.network): network})


def _set_precision(layer: nn.Module, dtype: torch.dtype, kept: Collection[int], is_head: bool) -> None:
    """Make a layer compute in this precision; in float32 where it is the head, where draws move it, or where its
    numbers may be frequencies, of which half precision would leave no phase.
    """
    own = dict(layer.named_parameters(recurse=False))
    if not own:
        return
    if next(layer.children(), None) is not None and not isinstance(layer, nn.MultiheadAttention):
        _halve(own.values(), dtype, kept)  # beside the layers within, which cast for themselves
        return
    multiplies = isinstance(layer, _NORMS) or any(value.ndim > 1 for value in own.values())
    fine = is_head or not multiplies or any(id(value) in kept for value in own.values())
    kind: Any = type(layer)
    layer.__class__ = casting_class(kind)
    layer.measured, layer.hands_on = next(iter(own)), torch.float32 if is_head else dtype  # type: ignore[assignment]
    if not fine:
        _halve([*layer.parameters(), *layer.buffers()], dtype, kept)


def _halve(values: Iterable[Tensor], dtype: torch.dtype, kept: Collection[int]) -> None:
    for value in values:
        if value.is_floating_point() and id(value) not in kept:
            value.data = value.data.to(dtype)


@functools.cache
def casting_class(kind: Any) -> Any:
    """The class of such layers whose inputs are cast, under the same name."""
    return type(kind.__name__, (CastingLayer, kind), {})


def precision_of(module: nn.Module) -> torch.dtype:
    """The coarsest precision among a module's weights, which bounds that of what it computes; float32 without any.

    Of weights that are kept in another precision than they compute in (layerwise casting) the latter.
    """
    found = {
        hook.compute_dtype if (hook := casting(part)) is not None else value.dtype
        for part in module.modules()
        for value in part.parameters(recurse=False)
        if value.is_floating_point()
    }
    return max(found, key=lambda dtype: torch.finfo(dtype).eps, default=torch.float32)
