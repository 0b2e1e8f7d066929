"""Checkpoints of trainings that are not whole."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from genuq.data import gaussian_mixture
from genuq.errors import CheckpointError
from genuq.models import GenerativeModel
from genuq.networks import MLP
from genuq.parallel.hardware import Hardware
from genuq.training.modules import GenerativeTraining, Optimisation
from genuq.training.trainer import WholeCheckpoints, complete, require_whole
from support.asking import RAN, Asking


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"weights": torch.arange(1000.0)}, path)
    return path


def test_a_checkpoint_is_what_was_saved_and_leaves_nothing_beside_it(checkpoint: Path):
    require_whole(checkpoint)
    assert torch.equal(torch.load(checkpoint, weights_only=True)["weights"], torch.arange(1000.0))
    assert [path.name for path in checkpoint.parent.iterdir()] == ["last.ckpt"]


def test_a_truncated_or_altered_checkpoint_is_named(checkpoint: Path):
    content = checkpoint.read_bytes()
    place = content.index(torch.arange(1000.0).numpy().tobytes()) + 2000
    for broken in (content[:-10], content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]):
        checkpoint.write_bytes(broken)
        with pytest.raises(CheckpointError, match=r"last\.ckpt is truncated or was altered"):
            require_whole(checkpoint)


def test_a_save_that_fails_leaves_the_old_checkpoint(checkpoint: Path):
    before = checkpoint.read_bytes()
    with pytest.raises(Exception, match="pickle"):
        WholeCheckpoints().save_checkpoint({"weights": (weight for weight in ())}, checkpoint)
    assert checkpoint.read_bytes() == before and len(list(checkpoint.parent.iterdir())) == 1


def test_a_checkpoint_that_asks_for_more_than_tensors_is_refused_and_nothing_is_called(tmp_path: Path):
    torch.save({"state_dict": {}, "more": Asking()}, tmp_path / "last.ckpt")
    model = GenerativeModel(MLP((2,), width=4, depth=1), shape=(2,))
    training = GenerativeTraining(model, gaussian_mixture(8, 64), Optimisation(steps=1, batch_size=8))
    with pytest.raises(CheckpointError, match=r"last\.ckpt holds more than tensors and plain values"):
        complete(training, Hardware(), tmp_path)
    assert not RAN
