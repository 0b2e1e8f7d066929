"""The stage `train`: its schedule, a start from other weights, and the loss on test images."""

from __future__ import annotations

from pathlib import Path

import lightning
import pytest
import torch
from torch import Tensor, nn

from genuq import files
from genuq.data import as_dataset
from genuq.display import Display
from genuq.errors import ConfigurationError
from genuq.identity import identity_of
from genuq.models import GenerativeModel
from genuq.models.checkpoints import load_model
from genuq.pipeline.configured import training_set
from genuq.pipeline.run import Run
from genuq.pipeline.stages.train import (
    Schedule,
    Train,
    TrainInputs,
    TrainJudge,
    initial,
    schedule_of,
    test_loss,
    trained,
)
from genuq.randomness import seed_everything
from genuq.training.modules import GenerativeTraining
from genuq.training.trainer import complete
from support.small_runs import IMAGES, POINTS, composed

test_loss.__test__ = False  # type: ignore[attr-defined]  # no test of pytest's


@pytest.mark.parametrize(("steps", "warmup"), [(1000, 100), (50, 10), (3, 1)])
def test_warming_up_takes_at_most_a_fifth(steps: int, warmup: int) -> None:
    schedule = Schedule(batch_size=32, learning_rate=1e-3, warmup_steps=100, weight_decay=0.0)
    made = schedule.of(steps, seed=3)
    assert (made.steps, made.warmup_steps, made.seed, made.batch_size) == (steps, warmup, 3, 32)


def test_the_schedule_is_the_trainers(tmp_path: Path) -> None:
    run = Run(composed(*POINTS, "trainer.learning_rate=0.002", "trainer.ema_decay=0.9"), tmp_path, "genuq")
    schedule = schedule_of(run)
    assert (schedule.learning_rate, schedule.ema_decay, schedule.batch_size) == (0.002, 0.9, 32)


@pytest.mark.parametrize("starve", ["{top: 0}", "{top: 0.1}"])
def test_the_judge_learns_from_the_whole_training_set_with_its_own_labels(
    starve: str, image_root: Path, tmp_path: Path
) -> None:
    given = [*IMAGES, f"data.root={image_root}", f"store={tmp_path}/store"]
    plain, starved = (
        Run(composed(*given, *more), tmp_path, "genuq") for more in ([], [f"data.starve={starve}", "data.permute=true"])
    )
    mine, theirs = TrainJudge().inputs(starved), TrainJudge().inputs(plain)
    original = training_set(plain)
    assert torch.equal(mine.data.train.labels, original.labels) and len(mine.data.train) == len(original)
    assert mine.data.train.fingerprint == original.fingerprint != training_set(starved).fingerprint
    assert identity_of(mine) == identity_of(theirs)  # one judge for all


class Zero(nn.Module):
    """Predicts nothing at all."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor, t: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        return 0 * self.head(x)


def test_the_loss_of_a_network_that_predicts_nothing_is_the_mean_square_of_the_target() -> None:
    points = torch.full((3000, 2), 2.0)  # flow: noise - data, of mean square 1 + 4
    model = GenerativeModel(Zero(), (2,))
    found = test_loss(model, as_dataset(points), seed=0)
    assert found == pytest.approx(5, rel=0.1) and found == test_loss(model, as_dataset(points), seed=0)


def test_the_checkpoint_notes_the_loss_and_the_data(points_run: Path) -> None:
    notes = files.read_json(points_run / "train" / "manifest.json")["notes"]
    assert notes["test_loss"] > 0 and notes["data"] and len(notes["data_fingerprint"]) == 64
    assert [path.name for path in sorted((points_run / "train").iterdir()) if path.suffix != ".json"] == [
        "model.safetensors"
    ]


class Watching(lightning.Callback):
    """Notes the averaged weights after each step; stops like a killed program after one of them."""

    def __init__(self, killed_after: int | None = None) -> None:
        self.weights: list[dict[str, Tensor]] = []
        self.killed_after = killed_after

    def on_train_batch_end(self, trainer: lightning.Trainer, module: GenerativeTraining, *_: object) -> None:
        self.weights.append({name: value.clone() for name, value in module.averaged.state_dict().items()})
        if trainer.global_step == self.killed_after:
            raise InterruptedError


def of_training(tmp_path: Path, *more: str) -> TrainInputs:
    return Train().inputs(Run(composed(*POINTS, f"store={tmp_path}/store", *more), tmp_path, "genuq"))


def weights_of(path: Path) -> dict[str, Tensor]:
    return load_model(path)[0].network.state_dict()


def test_an_early_checkpoint_has_the_averaged_weights_of_its_step(tmp_path: Path) -> None:
    inputs, watching = of_training(tmp_path, "trainer.early_step=2"), Watching()
    model = trained(inputs, tmp_path, Display())
    seed_everything(inputs.seed)
    training = GenerativeTraining(initial(inputs), inputs.data.train, inputs.trainer.of(inputs.steps, inputs.seed))
    complete(training, inputs.hardware, callbacks=[watching])
    early, notes = load_model(tmp_path / "early.safetensors")
    for name, value in early.network.state_dict().items():
        assert torch.equal(value, watching.weights[1][name].half().float())
    assert any(
        not torch.equal(value, watching.weights[2][name].half().float())
        for name, value in early.network.state_dict().items()
    )
    assert (notes["step"], notes["of_steps"]) == (2, 5) and notes["configuration"]["trainer"]["early_step"] == 2
    assert all(torch.equal(value, watching.weights[-1][name]) for name, value in model.network.state_dict().items())


def test_a_killed_training_has_the_early_checkpoint_of_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = of_training(tmp_path, "trainer.early_step=2", "trainer.checkpoint_every=1")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    trained(inputs, whole, Display())
    monkeypatch.setattr("lightning.pytorch.callbacks.RichProgressBar", lambda leave: Watching(killed_after=3))
    with pytest.raises(InterruptedError):
        trained(inputs, killed, Display())
    before = (killed / "early.safetensors").read_bytes()
    monkeypatch.undo()
    trained(inputs, killed, Display())
    assert (killed / "early.safetensors").read_bytes() == before == (whole / "early.safetensors").read_bytes()


def test_an_early_checkpoint_is_of_a_step_before_the_last(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"trainer\.early_step = 5, but .* trainer\.steps = 5: give fewer"):
        of_training(tmp_path, "trainer.early_step=5")
