"""Networks that do not fit: their weights lie elsewhere between passes, hooks of accelerate or diffusers bring them.

The hooks stay in place. accelerate's leave a parameter on torch's meta device and put the entry of a map in its place
for each pass; diffusers' groups move a parameter's data, fill it from copies (streams) or from a file, and its casting
keeps it in another precision than it computes in. Here is where the trained weights lie, and how a drawn one is
brought in place of it.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from genuq.errors import ConfigurationError

_REMEDY = "Load it without offloading for this, or use posteriors that are not trained (posterior=exact_laplace, kfac)."


class Source(ABC):
    """Where the hooks take one weight from."""

    @abstractmethod
    def read(self) -> Tensor:
        """The weight as they bring it, where it lies."""

    @abstractmethod
    def giving(self, value: Tensor) -> contextlib.AbstractContextManager[None]:
        """Inside, they bring this value."""


class Mapped(Source):
    """An entry of the map of one of accelerate's hooks (AlignDevicesHook)."""

    def __init__(self, hook: Any, key: str) -> None:
        self.hook, self.key = hook, key

    def read(self) -> Tensor:
        return torch.as_tensor(self.hook.weights_map[self.key]).detach()

    @contextlib.contextmanager
    def giving(self, value: Tensor) -> Iterator[None]:
        below = self.hook.weights_map
        self.hook.weights_map = _Overlaid(below, self.key, value)
        try:
            yield
        finally:
            self.hook.weights_map = below


class _Overlaid(Mapping[str, Tensor]):
    """A map with another value at one key."""

    def __init__(self, below: Mapping[str, Tensor], key: str, value: Tensor) -> None:
        self.below, self.key, self.value = below, key, value

    def __getitem__(self, key: str) -> Tensor:
        return self.value if key == self.key else self.below[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.below)

    def __len__(self) -> int:
        return len(self.below)


class Grouped(Source):
    """A parameter of one of diffusers' groups that is filled from a file, or from copies that streams bring."""

    def __init__(self, group: Any, parameter: nn.Parameter) -> None:
        self.group, self.parameter = group, parameter

    def read(self) -> Tensor:
        if self.group.offload_to_disk_path is None:
            return self.group.cpu_param_dict[self.parameter].detach()
        from safetensors import safe_open

        with safe_open(self.group.safetensors_file_path, framework="pt") as file:
            return file.get_tensor(self.group.tensor_to_key[self.parameter])

    @contextlib.contextmanager
    def giving(self, value: Tensor) -> Iterator[None]:
        before = self.group.__dict__.get("onload_")
        bring = self.group.onload_

        def onload() -> None:
            bring()
            self.parameter.data = value.to(self.group.onload_device, self.parameter.dtype)

        self.group.onload_ = onload
        try:
            yield
        finally:
            if before is None:
                del self.group.onload_
            else:
                self.group.onload_ = before


def sources(module: nn.Module) -> dict[str, Source]:
    """Of each parameter whose numbers are elsewhere between passes, by its name; of all others nothing."""
    found: dict[str, Source] = {}
    for prefix, part in module.named_modules():
        for hook in _hooks(part):
            if getattr(hook, "offload", False) and hook.weights_map is not None:
                own = [name for name, value in part.named_parameters(recurse=hook.place_submodules) if value.is_meta]
                found |= {f"{prefix}.{name}" if prefix else name: Mapped(hook, name) for name in own}
    grouped = {id(value): group for group in _groups(module) if _refills(group) for value in _members(group)}
    for name, value in module.named_parameters() if grouped else ():
        if id(value) in grouped:
            found[name] = Grouped(grouped[id(value)], value)
    return found


def parameters_of(module: nn.Module, names: Collection[str] | None = None) -> dict[str, Tensor]:
    """The module's trained parameters by name, wherever they lie.

    Args:
        names: of those that are wanted; None: all.
    """
    elsewhere = sources(module)
    return {
        name: elsewhere[name].read() if name in elsewhere else value
        for name, value in module.named_parameters()
        if names is None or name in names
    }


def execution_device(module: nn.Module) -> torch.device:
    """Where a pass through the module takes place: what the outermost hook says, else where its parameters are."""
    for part in module.modules():
        for hook in _hooks(part):
            device = getattr(hook, "execution_device", None)
            device = getattr(getattr(hook, "group", None), "onload_device", None) if device is None else device
            if device is not None:
                return torch.device(device)
    return next(module.parameters(), torch.empty(0)).device


def casting(layer: nn.Module) -> Any:
    """diffusers' hook that keeps this layer's weights in another precision than it computes in; None without."""
    return next((hook for hook in _hooks(layer) if hasattr(hook, "storage_dtype")), None)


def kept_for_backward(network: nn.Module) -> contextlib.AbstractContextManager[Any]:
    """A backward pass finds the weights of the forward pass, also where diffusers' hooks take them away in between."""
    if any(_changes_data(part) for part in network.modules()):  # whether there are gradients is decided inside
        return torch.autograd.graph.saved_tensors_hooks(_held, _held)
    return contextlib.nullcontext()


def _held(value: Tensor) -> Tensor:
    """The same numbers, whatever is done to `.data` of the given tensor."""
    return value.detach()


def require_readable(network: nn.Module) -> None:
    """Refuse layers whose weights only a hook around several of them knows: they could neither be read nor drawn.

    Raises:
        ConfigurationError: it names the first.
    """
    elsewhere = sources(network)
    for name, layer in network.named_modules() if elsewhere else ():
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            continue
        beyond = [f"{name}.{own}" for own, _ in layer.named_parameters(recurse=False) if f"{name}.{own}" in elsewhere]
        if beyond and not sources(layer):
            raise ConfigurationError(
                f"'{beyond[0]}' of {type(network).__name__} is offloaded together with other layers, by streams, to "
                "disk or by preload_module_classes, so it can neither be read nor drawn: use "
                "enable_group_offload(offload_type='leaf_level'), a group in memory without streams, or accelerate's "
                "cpu_offload or disk_offload."
            )


def require_resident(network: nn.Module, what: str) -> None:
    """Refuse an offloaded network, of which no copy can be trained: the copy's hooks are those of the original.

    Raises:
        ConfigurationError: it names the network and what to do.
    """
    if sources(network) or any(_changes_data(part) for part in network.modules()):
        raise ConfigurationError(f"{what}: {type(network).__name__} is offloaded or cast by hooks. {_REMEDY}")


def _hooks(part: nn.Module) -> list[Any]:
    """accelerate's and diffusers' hooks of a module, the outermost first."""
    single = vars(part).get("_hf_hook")
    found = list(getattr(single, "hooks", [single] if single is not None else []))
    return found + list(getattr(vars(part).get("_diffusers_hook"), "hooks", {}).values())


def _changes_data(part: nn.Module) -> bool:
    return any(hasattr(hook, "group") or hasattr(hook, "storage_dtype") for hook in _hooks(part))


def _groups(module: nn.Module) -> list[Any]:
    found = {id(hook.group): hook.group for part in module.modules() for hook in _hooks(part) if hasattr(hook, "group")}
    return list(found.values())


def _refills(group: Any) -> bool:
    """Whether a parameter's data between passes, or what is put there, counts for nothing in the next pass."""
    return group.offload_to_disk_path is not None or group.stream is not None


def _members(group: Any) -> list[nn.Parameter]:
    return [value for module in group.modules for value in module.parameters()] + list(group.parameters)
