"""The stage `train`: its schedule, a start from other weights, and the loss on test images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from genuq import files
from genuq.data import as_dataset
from genuq.identity import identity_of
from genuq.models import GenerativeModel
from genuq.pipeline.configured import training_set
from genuq.pipeline.run import Run
from genuq.pipeline.stages.train import Schedule, TrainJudge, schedule_of, test_loss
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
