"""Weights are loaded whole, or what does not fit is named and nothing is loaded."""

from __future__ import annotations

import pytest
import torch

from genuq.errors import CheckpointError, NonFiniteError
from genuq.models import load_weights
from genuq.networks import MLP


def small() -> MLP:
    torch.manual_seed(1)
    return MLP((2,), width=8, depth=1)


def changed() -> dict[str, torch.Tensor]:
    return {name: tensor + 1 for name, tensor in small().state_dict().items()}


def refuse(tensors: dict[str, torch.Tensor], error: type[Exception], match: str) -> None:
    network = small()
    with pytest.raises(error, match=match):
        load_weights(network, tensors, "weights.safetensors")
    for name, tensor in small().state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor), f"{name} was loaded all the same"


def test_whole_set_is_loaded_in_the_modules_precision():
    network, tensors = small(), changed()
    load_weights(network, {name: tensor.half() for name, tensor in tensors.items()}, "weights.safetensors")
    for name, tensor in network.state_dict().items():
        assert tensor.dtype == torch.float32
        torch.testing.assert_close(tensor, tensors[name].half().float(), rtol=0, atol=0)


def test_missing_and_unexpected_keys_are_named():
    tensors = changed()
    tensors["tail.bias"] = tensors.pop("head.bias")
    expected = r"weights.safetensors does not fit MLP.*1 missing: head.bias; 1 unexpected: tail.bias"
    refuse(tensors, CheckpointError, expected)


def test_other_shapes_are_named_with_both_shapes():
    tensors = {**changed(), "entry.weight": torch.zeros(8, 3)}
    match = r"entry.weight is \(8, 3\) in the file, \(8, 2\) in the network"
    refuse(tensors, CheckpointError, match)


def test_nan_is_named():
    tensors = changed()
    tensors["head.weight"][0, 0] = torch.nan
    refuse(tensors, NonFiniteError, "weight 'head.weight' of weights.safetensors has 1 NaN")
