"""Weights from a file into a module: all of them or none."""

from __future__ import annotations

from torch import Tensor, nn

from genuq.errors import CheckpointError, require_finite


def load_weights(module: nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Copy `tensors` into `module`, all keys or none, cast to the module's precision.

    Raises:
        CheckpointError: keys or shapes that do not fit, each named.
        NonFiniteError: NaN or infinite weights.
    """
    own = module.state_dict()
    missing, unexpected = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    shapes = [
        f"{name} is {tuple(tensors[name].shape)} in the file, {tuple(own[name].shape)} in the network"
        for name in own.keys() & tensors.keys()
        if own[name].shape != tensors[name].shape
    ]
    if missing or unexpected or shapes:
        parts = [
            f"{len(names)} {what}: {', '.join(names[:4])}{', ...' if len(names) > 4 else ''}"
            for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", sorted(shapes)))
            if names
        ]
        raise CheckpointError(
            f"{source} does not fit {type(module).__name__}. Keys {'; '.join(parts)}. "
            "Check the network and model options against the ones it was trained with."
        )
    for name, tensor in tensors.items():
        require_finite(tensor, f"weight '{name}' of {source}", "The checkpoint is broken: train or download it again.")
    module.load_state_dict({name: tensor.to(own[name].dtype) for name, tensor in tensors.items()})
