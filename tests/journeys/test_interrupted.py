"""Runs that are killed and started again end like runs that were never interrupted."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from genuq.errors import ArtefactError, CheckpointError
from genuq.pipeline.stages import sample as sampling_stage
from genuq.training.batches import StepBatches, TrainingBatch
from support.programs import environment, program
from support.small_runs import POINTS, copied, launch

TRAINING = [*POINTS, "stages=[train]", "trainer.steps=9", "trainer.checkpoint_every=2"]
MODEL = "train/model.safetensors"
SAMPLING = [*POINTS, "stages=[fit,sample]", "model.checkpoint=null"]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_training(folder: Path) -> None:
    """In the eighth of nine steps; the last checkpoint is that of the sixth."""
    item = StepBatches.__getitem__
    StepBatches.__getitem__ = lambda self, step: die() if step == 7 else item(self, step)  # type: ignore
    launch(folder, *TRAINING)


def kill_sampling(folder: Path) -> None:
    """In the second of three shards."""
    shard = sampling_stage.sample_shard
    sampling_stage.sample_shard = lambda inputs, model, drawn, indices, *rest: (
        die() if indices[0] == 16 else shard(inputs, model, drawn, indices, *rest)
    )
    launch(folder, *SAMPLING)


def kill_both(training: Path, sampling: Path) -> None:
    """Each in a process of its own that ends without warning, forked from one that has done no work yet."""
    for kill, folder in ((kill_training, training), (kill_sampling, sampling)):
        if not (child := os.fork()):
            kill(folder)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, f"{kill.__name__} went on to its end"


@pytest.fixture(scope="module")
def killed(points_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of two runs: `training` and `sampling`, each killed in it; `unfinished` is a copy of the former."""
    folder = tmp_path_factory.mktemp("killed")
    copied(points_run, folder / "sampling")
    for stage in ("sample", "embed", "score", "evaluate"):
        shutil.rmtree(folder / "sampling" / "store" / stage)
        (folder / "sampling" / stage).unlink()
    code = "import sys; from pathlib import Path; import test_interrupted as t\n"
    code += "t.kill_both(Path(sys.argv[1]), Path(sys.argv[2]))"
    arguments = [str(folder / "training"), str(folder / "sampling")]
    done = program(code, *arguments, variables=environment(__file__))
    assert done.returncode == 0, done.stderr
    copied(folder / "training", folder / "unfinished")
    return folder


@pytest.fixture
def killed_sampling(killed: Path, tmp_path: Path) -> Path:
    return copied(killed / "sampling", tmp_path / "sampling")


def test_killed_sampling_goes_on_and_ends_the_same(killed_sampling: Path, points_run: Path) -> None:
    folder = killed_sampling
    first = folder / "sample" / "shard-0000000-0000016.safetensors"
    assert [path.name for path in (folder / "sample").glob("shard-*")] == [first.name]
    assert not (folder / "sample" / "manifest.json").exists()
    finished = first.stat().st_mtime_ns
    launch(folder, *POINTS)
    assert first.stat().st_mtime_ns == finished
    for stage, artefact in (("sample", "shard-*"), ("score", "scores*"), ("evaluate", "evaluation*")):
        paths = sorted((points_run / stage).glob(artefact))
        assert paths and all((folder / stage / path.name).read_bytes() == path.read_bytes() for path in paths)


def test_a_shard_broken_after_the_kill_is_named(killed_sampling: Path) -> None:
    shard = killed_sampling / "sample" / "shard-0000000-0000016.safetensors"
    shard.write_bytes(shard.read_bytes()[:-8])
    with pytest.raises(ArtefactError, match=shard.name):
        launch(killed_sampling, *SAMPLING)


def test_shards_of_another_configuration_are_made_again(killed_sampling: Path) -> None:
    shard = killed_sampling / "sample" / "shard-0000000-0000016.safetensors"
    before = shard.read_bytes()
    launch(killed_sampling, *SAMPLING, "sampler.steps=4")
    assert shard.read_bytes() != before


def test_killed_training_goes_on_and_ends_the_same(killed: Path, tmp_path: Path) -> None:
    assert last_checkpoint(killed / "training")["global_step"] == 6
    for folder in (killed / "training", tmp_path):
        launch(folder, *TRAINING)
    assert_same_training(killed / "training", tmp_path)


@pytest.mark.parametrize(("steps", "stop"), [(9, 3), (8, 8)], ids=["in the first half", "after the last step"])
def test_stopped_training_goes_on_with_the_next_step(
    steps: int, stop: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the share that was done, each remaining step is seen once, and none a second time."""
    seen: list[int] = []

    def recorded(self: StepBatches, step: int) -> TrainingBatch:
        if seen == list(range(stop)):
            seen.append(-1)  # once only
            raise InterruptedError
        seen.append(step)
        return item(self, step)

    item = StepBatches.__getitem__
    monkeypatch.setattr(StepBatches, "__getitem__", recorded)
    settings = [*TRAINING, f"trainer.steps={steps}"]
    with contextlib.suppress(InterruptedError):
        launch(tmp_path / "stopped", *settings)
    del seen[:]
    launch(tmp_path / "stopped", *settings)
    assert seen == list(range(stop // 2 * 2, steps))
    monkeypatch.undo()
    launch(tmp_path / "whole", *settings)
    assert_same_training(tmp_path / "stopped", tmp_path / "whole")


def last_checkpoint(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "train" / "model" / "last.ckpt", weights_only=True)


def assert_same_training(folder: Path, other: Path) -> None:
    """The same bytes, and nothing left that only a killed training needs."""
    assert (folder / MODEL).read_bytes() == (other / MODEL).read_bytes()
    assert {path.name for path in (folder / "train").iterdir()} == {"model.safetensors", "manifest.json"}


@pytest.mark.parametrize("harm", ["truncated", "altered"])
def test_a_harmed_training_checkpoint_is_named(harm: str, killed: Path, tmp_path: Path) -> None:
    folder = copied(killed / "unfinished", tmp_path / "training")
    last = folder / "train" / "model" / "last.ckpt"
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes(content if harm == "altered" else content[:-200])
    with pytest.raises(CheckpointError, match=r"last\.ckpt is truncated or was altered"):
        launch(folder, *TRAINING)
