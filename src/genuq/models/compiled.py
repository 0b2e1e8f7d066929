"""torch.compile around a model or within it.

A compiled module runs code that was made at its first call, in which hooks added since then do not exist; nor may its
graph be sent gradients twice. What watches layers works on the module that was compiled.
"""

from __future__ import annotations

from typing import TypeVar

from torch import nn

from genuq.errors import ConfigurationError

Module = TypeVar("Module", bound=nn.Module)


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
