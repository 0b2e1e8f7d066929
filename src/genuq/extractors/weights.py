"""Published weights as plain tensors: whatever version of their library is installed, no file runs code of its own."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genuq import files
from genuq.errors import CheckpointError

INSIDE = ("state_dict_ema", "model_ema", "state_dict", "model")  # where trainings keep the weights, the averaged first
WRAPPERS = ("_orig_mod.", "module.")  # what torch.compile and DDP put before every name


def read_weights(path: Path, remedy: str = "Download it again.") -> dict[str, Tensor]:
    """The tensors of a file, safetensors or a state dict of torch, by their names in the network.

    Args:
        path: ends in .safetensors where it is such a file.
        remedy: ends the message.

    Raises:
        CheckpointError: no such file, a damaged one, or one that holds more than tensors and plain values: a pickle
            that asks for more is refused, and nothing of it is run.
    """
    if not os.path.isfile(path):
        raise CheckpointError(f"The checkpoint {path} of the extractor does not exist. Correct `checkpoint`.")
    try:
        if path.suffix == ".safetensors":
            content: Any = files.read_tensors(path)[0]
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # safetensors, zip and pickle each raise their own
        raise CheckpointError(f"{path} is damaged or holds more than tensors ({_in_short(error)}). {remedy}") from error
    return _named_tensors(content, path, remedy)


def _in_short(error: Exception) -> str:
    """What is wrong, without torch's advice to open the file all the same."""
    said = re.search(r"WeightsUnpickler error: (.+?)(?: was not an allowed global| Please use|\n|$)", str(error))
    return said[1] if said else str(error).split("\n")[0]


def _named_tensors(content: Any, path: Path, remedy: str) -> dict[str, Tensor]:
    if isinstance(content, Mapping):
        content = next((content[key] for key in INSIDE if isinstance(content.get(key), Mapping)), content)
    named = content.items() if isinstance(content, Mapping) else ()
    tensors = {_unwrapped(str(name)): value for name, value in named if isinstance(value, Tensor)}
    if not tensors:
        raise CheckpointError(f"{path} holds no weights by name. {remedy}")
    return tensors


def _unwrapped(name: str) -> str:
    while name.startswith(WRAPPERS):
        name = name.removeprefix(next(prefix for prefix in WRAPPERS if name.startswith(prefix)))
    return name
