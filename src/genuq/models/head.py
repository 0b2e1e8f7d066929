"""The head: the layer that a posterior is over unless it says otherwise, among those that could be it."""

from __future__ import annotations

from torch import nn

from genuq.errors import ConfigurationError, did_you_mean


def head_candidates(network: nn.Module) -> list[str]:
    """Dotted names of the Conv2d and Linear layers, in the order of registration."""
    return [name for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)]


def is_only_read(network: nn.Module, name: str) -> bool:
    """Whether torch's own attention reads the weights of this layer (its `out_proj`) and never runs it."""
    return isinstance(network.get_submodule(name.rpartition(".")[0]), nn.MultiheadAttention)


def find_head(network: nn.Module, name: str | None) -> str:
    """The dotted name of the head: `name` if it is a Conv2d or Linear, the last such layer for None.

    Raises:
        ConfigurationError: no such layer; the message lists the last candidates.
    """
    candidates = head_candidates(network)
    if not candidates:
        raise ConfigurationError(
            f"{type(network).__name__} has no Conv2d or Linear layer to hold a posterior. Layers of your own that make "
            "their weight in every pass become such ones by genuq.models.with_plain_layers."
        )
    if name is None:
        return next((each for each in reversed(candidates) if not is_only_read(network, each)), candidates[-1])
    if name not in candidates:
        raise ConfigurationError(
            f"model.head = '{name}' is not a Conv2d or Linear layer of {type(network).__name__}."
            + did_you_mean(name, candidates[-8:])
        )
    return name
