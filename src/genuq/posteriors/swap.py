"""Other weights for a while: the trained ones come back bit for bit, also after an exception."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from genuq.errors import CheckpointError, ConfigurationError
from genuq.models.offloaded import Mapped, casting, execution_device, parameters_of, sources

COARSE = (torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)


def draw_precision(trained: Tensor) -> torch.dtype:
    """That a draw of such weights has: their own, at least float32, since half precision rounds small deviations
    away.
    """
    return torch.float32 if trained.dtype in COARSE else trained.dtype


def computes_finely(module: nn.Module, name: str) -> bool:
    """Whether what holds the parameter of this name can compute in float32 for itself: it is a layer without parts, and
    one that runs (torch's attention only reads the weights of its projection).
    """
    place = name.rpartition(".")[0]
    layer, around = module.get_submodule(place), module.get_submodule(place.rpartition(".")[0])
    runs = not isinstance(layer, nn.ParameterDict | nn.ParameterList) and not isinstance(around, nn.MultiheadAttention)
    plain = not any(buffer.is_floating_point() for buffer in layer.buffers(recurse=False))
    return runs and plain and next(layer.children(), None) is None


@contextlib.contextmanager
def swapped(module: nn.Module, values: Mapping[str, Tensor]) -> Iterator[nn.Module]:
    """Run with `values` in place of the module's parameters of these names.

    The storage of the trained parameters is set aside, not overwritten, so nothing has to be copied back. Layers in
    half precision whose values are finer compute in float32 inside and hand on half precision, that no deviation is
    rounded away; the module itself, where it is such a layer (a head), hands on float32. Of offloaded weights the hooks
    bring those drawn, and stay as they are.

    Raises:
        CheckpointError: a name or a shape that the module does not have; nothing is changed then.
        ConfigurationError: at the end, something else had put other weights in their place.
    """
    parameters = {name: parameter for name, parameter in module.named_parameters() if name in values}
    wrong = [name for name in values if name not in parameters or parameters[name].shape != values[name].shape]
    if wrong:
        raise CheckpointError(f"{type(module).__name__} has no parameter '{wrong[0]}' of the drawn shape.")
    elsewhere = sources(module)
    here = {name: parameter for name, parameter in parameters.items() if name not in elsewhere}
    trained = {name: parameter.data for name, parameter in here.items()}
    try:
        with contextlib.ExitStack() as stack:
            for layer, drawn in _finer(module, parameters, values).items():
                stack.enter_context(_in_float32(layer, drawn, hands_on=layer is module))
            for name in parameters.keys() - here.keys():
                stack.enter_context(elsewhere[name].giving(values[name]))
            for name, parameter in here.items():
                parameter.data = values[name].to(parameter)
            yield module
        for name, parameter in here.items():
            _require_in_place(module, name, values[name].to(parameter))
    finally:
        for name, parameter in here.items():  # a hook may have moved the module meanwhile
            parameter.data = trained[name].to(parameter.device)


def _require_in_place(module: nn.Module, name: str, drawn: Tensor) -> None:
    """Refuse weights that something put in place of those drawn, which then said nothing about the draw."""
    if not torch.equal(module.get_parameter(name).data, drawn):
        raise ConfigurationError(
            f"weight '{name}' of {type(module).__name__} was replaced while drawn weights were in place, so that they "
            "did not count: a hook brings copies of its own. Take it off, or load the network without it."
        )


def _finer(
    module: nn.Module, parameters: Mapping[str, nn.Parameter], values: Mapping[str, Tensor]
) -> dict[nn.Module, dict[str, Tensor]]:
    """The layers in half precision whose values are finer, with these by their names in the layer."""
    found: dict[nn.Module, dict[str, Tensor]] = {}
    for name, parameter in parameters.items():
        place, _, own = name.rpartition(".")
        layer = module.get_submodule(place)
        if parameter.dtype in COARSE and values[name].dtype not in COARSE and computes_finely(module, name):
            found.setdefault(layer, {})[own] = values[name].float()
    return found


@contextlib.contextmanager
def _in_float32(layer: nn.Module, drawn: Mapping[str, Tensor], hands_on: bool) -> Iterator[None]:
    """A layer computes with drawn weights in float32 inside.

    The weights are in place while it runs alone: whoever reads the network's precision off them finds its own.

    Args:
        hands_on: its output stays float32; else it has the precision of the layer's own weights.
    """
    own = {name: value for name, value in layer.named_parameters(recurse=False) if value.dtype in COARSE}
    elsewhere, caster = sources(layer), casting(layer)
    coarse = next(iter(own.values())).dtype if caster is None else caster.compute_dtype

    def fine(name: str, value: nn.Parameter) -> Tensor:
        if isinstance(elsewhere.get(name), Mapped):  # its hook casts what it brings to what it finds
            return nn.Parameter(value.data.float(), value.requires_grad)
        drawn_one = drawn[name] if name in drawn else parameters_of(layer, [name])[name].data
        # not `.data`, since a graph that saw these weights keeps them; a copy, which hooks may move and cast
        return drawn_one.to(execution_device(layer), torch.float32, copy=caster is not None)

    def before(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any]:
        layer._parameters.update({name: fine(name, value) for name, value in own.items()})  # type: ignore[misc]
        cast = {key: _cast(part, torch.float32) for key, part in named.items()}
        return tuple(_cast(part, torch.float32) for part in inputs), cast

    def after(_: nn.Module, inputs: object, output: Any) -> Any:
        layer._parameters.update(own)
        return output if hands_on else _cast(output, coarse)

    handles = [
        layer.register_forward_pre_hook(before, with_kwargs=True),
        layer.register_forward_hook(after, prepend=True, always_call=True),
    ]
    if caster is not None:
        caster.compute_dtype = torch.float32
    try:
        yield
    finally:
        if caster is not None:
            caster.compute_dtype = coarse
        for handle in handles:
            handle.remove()


def _cast(value: Any, dtype: torch.dtype) -> Any:
    return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value
