"""Settings of the trainer that cannot work, and checkpoints that are not whole."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning.pytorch.accelerators import CUDAAccelerator, MPSAccelerator

from genuq.data import gaussian_mixture
from genuq.errors import CheckpointError, ConfigurationError
from genuq.models import GenerativeModel
from genuq.networks import MLP
from genuq.parallel.hardware import Hardware
from genuq.training.modules import GenerativeTraining, Optimisation
from genuq.training.trainer import WholeCheckpoints, check_trainer, complete, require_whole
from support.asking import RAN, Asking


def with_graphics(monkeypatch, count):
    """A machine with as many GPUs."""
    monkeypatch.setattr(CUDAAccelerator, "auto_device_count", lambda: count)
    monkeypatch.setattr(CUDAAccelerator, "is_available", lambda: count > 0)
    monkeypatch.setattr(MPSAccelerator, "is_available", lambda: False)


def test_more_gpus_than_there_are_are_refused(monkeypatch):
    with_graphics(monkeypatch, 2)
    with pytest.raises(ConfigurationError, match=r"trainer\.devices = 3, but this machine has 2 GPUs"):
        check_trainer(Hardware(devices=3))
    check_trainer(Hardware(devices=3, accelerator="cpu"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"strategy": "dpp"}, r"trainer\.strategy = 'dpp'; choose auto, .*Did you mean 'ddp'"),
        ({"devices": 0}, r"trainer\.devices = 0"),
        ({"devices": -2}, r"trainer\.devices = -2"),
        ({"num_nodes": 0}, r"trainer\.num_nodes = 0"),
        (
            {"precision": "64-true"},
            r"trainer\.precision = '64-true'; choose 32-true, bf16-mixed, 16-mixed or bf16-true",
        ),
        ({"precision": "float16"}, r"trainer\.precision = 'float16'; choose"),
        ({"precision": "bf16-true"}, r"trainer\.precision = 'bf16-true' .* for trainer\.strategy = 'fsdp' alone"),
        ({"strategy": "fsdp", "precision": "16-mixed"}, r"trainer\.precision = '16-mixed' cannot be had"),
        ({"accelerator": "quantum"}, r"trainer\.accelerator = 'quantum'; choose auto, cpu"),
        ({"accelerator": "cuda"}, r"trainer\.accelerator = 'cuda', but this machine has none"),
        ({"accelerator": "gpu"}, r"trainer\.accelerator = 'gpu', but this machine has none"),
        ({"devices": -1}, r"trainer\.devices = -1 means all GPUs"),
        ({"gradient_clip": -1.0}, r"trainer\.gradient_clip = -1\.0; it must be finite and above 0"),
        ({"checkpoint_every": 0}, r"trainer\.checkpoint_every = 0; at least 1"),
    ],
)
def test_hardware_that_cannot_work_is_refused_by_its_key(options, said, monkeypatch):
    with_graphics(monkeypatch, 0)
    with pytest.raises(ConfigurationError, match=said):
        check_trainer(Hardware(**options))


@pytest.mark.parametrize("options", [{}, {"devices": -1, "strategy": "ddp"}, {"strategy": "fsdp", "devices": 2}])
def test_hardware_that_can_is_not(options, monkeypatch):
    with_graphics(monkeypatch, 2)
    assert check_trainer(Hardware(**options)) is None


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
        WholeCheckpoints().save_checkpoint({"weights": lambda: None}, checkpoint)
    assert checkpoint.read_bytes() == before and len(list(checkpoint.parent.iterdir())) == 1


def test_a_checkpoint_that_asks_for_more_than_tensors_is_refused_and_nothing_is_called(tmp_path: Path):
    torch.save({"state_dict": {}, "more": Asking()}, tmp_path / "last.ckpt")
    model = GenerativeModel(MLP((2,), width=4, depth=1), shape=(2,))
    training = GenerativeTraining(model, gaussian_mixture(8, 64), Optimisation(steps=1, batch_size=8))
    with pytest.raises(CheckpointError, match=r"last\.ckpt holds more than tensors and plain values"):
        complete(training, Hardware(), tmp_path)
    assert not RAN
