"""torch.compile around a model or within it.

A compiled module runs code that was made at its first call, in which hooks added since then do not exist; nor may its
graph be sent gradients twice. What watches layers works on the module that was compiled.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Self, TypeVar

import torch
import torch.autograd.forward_ad as forward_ad
from torch import nn

from genuq.errors import ConfigurationError

log = logging.getLogger(__name__)
Module = TypeVar("Module", bound=nn.Module)


class Compiled:
    """A network in a model's `call`, compiled for passes that nobody watches: no gradients, no hooks on its layers.

    All else runs the network itself, whose weights are the same ones: hooks, gradients and training find it as it is.

    Args:
        network: not compiled itself.
        backend: of torch.compile.

    Attributes:
        graphs: how many were compiled so far; weight draws need none of their own. The first two numbers of rows need
            one each, the second of which takes all others but one row, if nothing breaks the network's graph.
    """

    def __init__(self, network: nn.Module, backend: str | Callable[..., Any] = "inductor") -> None:
        self.network, self.graphs = network, 0
        self.compiled: Any = torch.compile(network, backend=self._counted(backend))

    def _counted(self, backend: str | Callable[..., Any]) -> Callable[..., Any]:
        """The backend, which says so whenever it compiles one more graph."""
        from torch._dynamo.backends.registry import lookup_backend

        compiler = lookup_backend(backend) if isinstance(backend, str) else backend

        def compiled(graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
            self.graphs += 1
            log.debug("%s: graph %d is compiled", type(self.network).__name__, self.graphs)
            return compiler(graph, inputs)

        return compiled

    def __call__(self, *given: Any, **named: Any) -> Any:
        return (self.network if is_watched(self.network) else self.compiled)(*given, **named)

    def __getattr__(self, name: str) -> Any:
        if name == "network":  # of a copy in the making
            raise AttributeError(name)
        return getattr(self.network, name)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self | None:
        """None: a copy of a model is made to be trained."""
        return None


def is_watched(network: nn.Module) -> bool:
    """Whether a pass through the network has to be its own: for gradients, tangents or hooks."""
    if torch.is_grad_enabled() or forward_ad._current_level >= 0 or next(network.parameters()).is_meta:
        return True
    return any(part._forward_hooks or part._forward_pre_hooks for part in network.modules())


def original(module: Module) -> Module:
    """The module that `torch.compile` was called on, with the same weights; any other module itself."""
    return getattr(module, "_orig_mod", module)


def compiled_part(module: nn.Module) -> str | None:
    """The dotted name of the first compiled module, '' for the whole; None where nothing is compiled."""
    for name, part in module.named_modules():
        if hasattr(part, "_orig_mod") or getattr(part, "_compiled_call_impl", None) is not None:
            return name
    return None


def require_uncompiled(module: nn.Module, what: str = "the model") -> None:
    """Refuse compiled parts, whose layers cannot be watched.

    Raises:
        ConfigurationError: it names the part, and says what to do.
    """
    name = compiled_part(module)
    if name is not None:
        raise ConfigurationError(
            f"{what}: {f'{name} is' if name else 'it is'} compiled, so hooks and gradients do not reach its layers. "
            "Put back the module that torch.compile was called on (its `_orig_mod`), and leave out calls of "
            "`.compile()`; compile again afterwards."
        )
