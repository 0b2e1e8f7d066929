"""Weights are read as tensors: in any layout that trainings leave, and never by running what a file asks for."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from genuq.errors import CheckpointError
from genuq.extractors.weights import read_weights
from support.asking import RAN, Asking

WEIGHTS = {"stem.weight": torch.arange(6.0).reshape(2, 3), "head.bias": torch.ones(2)}


def same(found: dict[str, Tensor]) -> bool:
    return found.keys() == WEIGHTS.keys() and all(torch.equal(found[name], value) for name, value in WEIGHTS.items())


def test_safetensors_and_state_dicts_in_every_layout(tmp_path: Path) -> None:
    save_file(WEIGHTS, str(tmp_path / "w.safetensors"))
    assert same(read_weights(tmp_path / "w.safetensors"))
    others = {name: value + 1 for name, value in WEIGHTS.items()}
    wrapped = {f"module._orig_mod.{name}": value for name, value in WEIGHTS.items()}
    layouts = (
        WEIGHTS,
        {"state_dict": wrapped, "epoch": 3},
        {"model": others, "model_ema": WEIGHTS},
        WEIGHTS | {"input_resolution": 224},
    )
    for number, content in enumerate(layouts):
        torch.save(content, tmp_path / f"{number}.pt")
        assert same(read_weights(tmp_path / f"{number}.pt")), number


@pytest.mark.parametrize("old_format", [False, True])
def test_a_file_that_asks_for_a_call_is_refused_and_nothing_is_called(tmp_path: Path, old_format: bool) -> None:
    path = tmp_path / "asking.pth"
    torch.save({"state_dict": WEIGHTS, "args": Asking()}, path, _use_new_zipfile_serialization=not old_format)
    with pytest.raises(CheckpointError, match=r"asking\.pth is damaged or holds more than tensors.* Download it again"):
        read_weights(path)
    assert not RAN
    torch.load(path, weights_only=False)
    assert RAN.pop() == "ran", "the file does ask"


def test_what_holds_no_weights_is_named(tmp_path: Path) -> None:
    for number, content in enumerate(([1, 2], {"epoch": 3}, torch.ones(2))):
        torch.save(content, tmp_path / f"{number}.pt")
        with pytest.raises(CheckpointError, match=rf"{number}\.pt holds no weights by name\. Take another\."):
            read_weights(tmp_path / f"{number}.pt", "Take another.")
    torch.save({"state_dict": WEIGHTS, "args": argparse.Namespace(width=2)}, tmp_path / "args.pt")
    with pytest.raises(CheckpointError, match=r"more than tensors .*Namespace"):
        read_weights(tmp_path / "args.pt")
    with pytest.raises(CheckpointError, match=r"none\.pt of the extractor does not exist"):
        read_weights(tmp_path / "none.pt")
