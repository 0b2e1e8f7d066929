"""Training with divided weights: the weights and averages of undivided training, also after a kill."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch
from torch import Tensor

from genuq import files, models
from genuq.errors import ConfigurationError
from genuq.pipeline.configured import description_of
from genuq.pipeline.preflight import check
from genuq.pipeline.run import Run, hardware_of
from support.programs import environment, program
from support.small_runs import POINTS, composed, copied, launch

TRAINING = [
    *POINTS,
    "stages=[train]",
    "trainer.steps=9",
    "trainer.checkpoint_every=2",
    "trainer.ema_decay=0.8",
    "trainer.learning_rate=0.05",
]
DIVIDED = ["trainer.devices=2", "trainer.strategy=fsdp", "trainer.accelerator=cpu"]

KILLED = """
import os, signal, sys
from pathlib import Path
import test_fsdp as t
from genuq.training.batches import StepBatches

item = StepBatches.__getitem__
StepBatches.__getitem__ = lambda self, step: os.kill(os.getpid(), signal.SIGKILL) if step == 7 else item(self, step)
t.launch(Path(sys.argv[1]), *t.TRAINING, *t.DIVIDED)
"""


def weights(folder: Path) -> dict[str, Tensor]:
    return files.read_tensors(folder / "train" / "model.safetensors")[0]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    launch(folder, *TRAINING)
    return folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Killed in the eighth of nine steps; the last checkpoint is that of the sixth."""
    folder = tmp_path_factory.mktemp("killed")
    finished = program(KILLED, str(folder), variables=environment(__file__))
    assert finished.returncode == -signal.SIGKILL, finished.stderr
    return folder


def test_a_checkpoint_holds_the_whole_weights_averages_and_moments(killed: Path) -> None:
    (path,) = killed.rglob("last.ckpt")
    checkpoint = torch.load(path, weights_only=True)
    network = models.build(description_of(Run(composed(*TRAINING), killed, "genuq"))).network
    shapes = {name: value.shape for name, value in network.state_dict().items()}
    for prefix in ("model.network.", "ema.module."):
        found = {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
        assert {name: value.shape for name, value in found.items()} == shapes
        assert all(type(value) is Tensor for value in found.values())
    state = checkpoint["state_dict"]
    apart = max(float((state[f"ema.module.{n}"] - state[f"model.network.{n}"]).abs().max()) for n in shapes)
    assert apart > 1e-3  # or a wrong average could not be told from the last weights
    assert checkpoint["global_step"] == 6 and int(checkpoint["state_dict"]["ema.n_averaged"]) == 6
    moments = checkpoint["optimizer_states"][0]["state"]
    assert sorted(str(m["exp_avg"].shape) for m in moments.values()) == sorted(
        str(parameter.shape) for parameter in network.parameters()
    )


@pytest.mark.slow
def test_divided_training_that_was_killed_ends_as_training_in_one_process(
    killed: Path, alone: Path, tmp_path: Path
) -> None:
    folder = copied(killed, tmp_path / "run")
    launch(folder, *TRAINING, *DIVIDED)
    one, two = weights(alone), weights(folder)
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=2e-3, atol=2e-4)  # stored as float16


def test_only_the_generative_model_is_divided(tmp_path: Path) -> None:
    run = Run(composed(*TRAINING, *DIVIDED), tmp_path, "genuq")
    assert hardware_of(run).strategy == "ddp"  # fits, samples, judges, autoencoders, members
    assert hardware_of(run, shards=True).strategy == "fsdp"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["trainer.strategy=ddp_spawn"], r"trainer\.strategy = 'ddp_spawn' lets Lightning .* Choose ddp"),
        ([*DIVIDED, "trainer.precision=16-mixed"], r"trainer\.precision = '16-mixed' cannot be had with"),
        (["trainer.devices=0"], r"trainer\.devices = 0"),
        (["trainer.num_nodes=0"], r"trainer\.num_nodes = 0"),
    ],
)
def test_what_the_trainer_cannot_do_is_refused(overrides: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=said):
        check(Run(composed(*TRAINING, *overrides), tmp_path, "genuq"))
