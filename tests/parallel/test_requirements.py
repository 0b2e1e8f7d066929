"""Settings of the hardware that cannot work."""

from __future__ import annotations

import pytest
import torch

from genuq.errors import ConfigurationError
from genuq.parallel.hardware import Hardware
from genuq.parallel.requirements import check_trainer, require_hardware


def with_graphics(monkeypatch, count):
    """A machine with as many GPUs."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_more_gpus_than_there_are_are_refused(monkeypatch):
    with_graphics(monkeypatch, 2)
    with pytest.raises(ConfigurationError, match=r"trainer\.devices = 3, but this machine has 2 GPUs"):
        require_hardware(Hardware(devices=3))
    require_hardware(Hardware(devices=3, accelerator="cpu"))
    check_trainer(Hardware(devices=3))  # a plan may be made on another machine


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"strategy": "dpp"}, r"trainer\.strategy = 'dpp'; choose auto, .*Did you mean 'ddp'"),
        ({"strategy": "ddp_fork"}, r"trainer\.strategy = 'ddp_fork' lets Lightning start"),
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
        require_hardware(Hardware(**options))


@pytest.mark.parametrize("options", [{}, {"devices": -1, "strategy": "ddp"}, {"strategy": "fsdp", "devices": 2}])
def test_hardware_that_can_is_not(options, monkeypatch):
    with_graphics(monkeypatch, 2)
    check_trainer(Hardware(**options))
    require_hardware(Hardware(**options))
