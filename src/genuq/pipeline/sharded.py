"""Samples in shards, dealt to the processes of a run."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from genuq import files
from genuq.display import Display
from genuq.parallel import collectives
from genuq.parallel.collectives import Share
from genuq.pipeline.run import Run, hardware_of
from genuq.store.artefact import StageFolder
from genuq.store.shards import shard_name
from genuq.training.trainer import for_one_pass

Advance = Callable[[int], None]
Make = Callable[[list[int], Advance], Mapping[str, Tensor]]


class Shard(NamedTuple):
    """Sample indices and the file for what is made of them."""

    indices: list[int]
    path: Path


class Dealing(lightning.LightningModule):
    """Makes and writes this process's shards.

    Args:
        missing: the shards of all processes.
        make: the tensors of the samples with the given indices.
        metadata: of every file.
        advance: called with the progress of all processes, taken as that of this one.
    """

    def __init__(
        self, missing: Sequence[Shard], make: Make, metadata: Mapping[str, str], advance: Callable[[float], None]
    ) -> None:
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True  # more processes than shards
        self.missing, self.make, self.metadata, self.advance = missing, make, metadata, advance

    def predict_dataloader(self) -> DataLoader:
        share = Share(len(self.missing), self.trainer.global_rank, self.trainer.world_size)
        return DataLoader(self.missing, batch_size=None, sampler=share)  # type: ignore[arg-type]

    @torch.enable_grad()  # as outside of Lightning: some scores differentiate
    def predict_step(self, shard: Shard, batch_index: int) -> None:
        world = self.trainer.world_size
        of_this_round = self.missing[batch_index * world : (batch_index + 1) * world]
        times = sum(len(other.indices) for other in of_this_round) / len(shard.indices)
        tensors = self.make(shard.indices, lambda done: self.advance(times * done))
        files.write_tensors(shard.path, tensors, self.metadata)


def deal(run: Run, folder: StageFolder, make: Make, display: Display, what: str, passes: int = 1) -> int:
    """Make the shards that `folder` still lacks, in all processes of the run; each returns when all shards are there.

    Args:
        make: given indices and a function to call with the passes done, the tensors of these samples.
        what: is done, for the progress bar.
        passes: of one sample.

    Returns:
        how many samples were made now, by all processes.

    Raises:
        ArtefactError: a finished shard is broken.
    """
    total = run.config.sampler.samples
    missing = collectives.agree([Shard(indices, path) for indices, path, done in shards(run, folder.path) if not done])
    count = sum(len(shard.indices) for shard in missing)
    with display.bar(what, total * passes) as advance:
        advance((total - count) * passes)
        if missing:
            predict(run, Dealing(missing, make, {"fingerprint": folder.fingerprint}, advance))
    return count


def predict(run: Run, dealing: Dealing) -> None:
    """Let Lightning do the work on the trainer's processes; the model stays where it is."""
    where = replace(hardware_of(run), accelerator=run.device.type)
    trainer = for_one_pass(where, precision="32-true")  # samples are what they are, however their network was trained
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(num_workers|local rank has zero|returned None|devices=1).*")
        trainer.predict(dealing, return_predictions=False)
    trainer.strategy.barrier()


def shards(run: Run, folder: Path) -> Iterator[tuple[list[int], Path, bool]]:
    """The sample indices of each shard, its file in `folder`, and whether that is finished.

    Raises:
        ArtefactError: a finished shard is broken; it is named here, not used.
    """
    total, size = run.config.sampler.samples, run.config.sampler.batch_size
    for start in range(0, total, size):
        stop = min(start + size, total)
        path = folder / shard_name(start, stop)
        finished = path.exists()
        if finished:
            files.read_tensors(path)
        yield list(range(start, stop)), path, finished
