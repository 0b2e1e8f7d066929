"""The passes of a fit as a Lightning module: any accelerator, precision and number of processes, resumable.

Batch b belongs to process b modulo their number, unpadded, so that the sums over processes are those of one process.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch.utils.data import DataLoader

from genuq import files
from genuq.models import GenerativeModel
from genuq.parallel.collectives import Share
from genuq.parallel.hardware import Hardware
from genuq.posteriors.fitting.passes import Pass
from genuq.posteriors.fitting.regression import Observations, RegressionBatches, regress
from genuq.training.trainer import for_one_pass


class StreamingPass(lightning.LightningModule):
    """One pass over the data; afterwards every process holds the sums of all.

    Args:
        model: the frozen model.
        part: what accumulates.
        batches: all of them.
        folder: for the sums so far, `NAME-RANK-of-WORLD.safetensors`, and the finished ones, `NAME.safetensors`.
        name: of the pass.
        identity: what the sums depend on; files of another identity are not used.
        advance: called with the rows that all processes together have just done.
        save_every: seconds between two saves of the sums so far.
    """

    def __init__(
        self,
        model: GenerativeModel,
        part: Pass,
        batches: RegressionBatches,
        folder: Path,
        name: str,
        identity: str,
        advance: Callable[[int], None] = lambda rows: None,
        save_every: float = 30.0,
    ) -> None:
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True  # more processes than batches
        self.model, self.part, self.batches = model, part, batches
        self.folder, self.pass_name, self.identity = folder, name, identity
        self.advance, self.save_every = advance, save_every
        self.done = 0
        self._saved = time.monotonic()

    @property
    def finished_path(self) -> Path:
        return self.folder / f"{self.pass_name}.safetensors"

    @property
    def own_path(self) -> Path:
        rank, world = self.trainer.global_rank, self.trainer.world_size
        return self.folder / f"{self.pass_name}-{rank}-of-{world}.safetensors"

    def restored(self, path: Path) -> int | None:
        """Take the sums of a file; returns how many batches they hold, None where it is of other work."""
        if not path.exists():
            return None
        sums, metadata = files.read_tensors(path)
        if metadata.get("identity") != self.identity:
            return None
        self.part.restore(sums)
        return int(metadata["done"])

    def setup(self, stage: str) -> None:
        self.done = self.restored(self.own_path) or 0
        self.advance(sum(self.rows_of_round(number) for number in range(self.done)))

    def rows_of_round(self, number: int) -> int:
        """Rows of the batches that the processes do while this one does its batch of this number."""
        first, world = number * self.trainer.world_size, self.trainer.world_size
        return sum(self.batches.rows_in(batch) for batch in range(first, min(first + world, len(self.batches))))

    def test_dataloader(self) -> DataLoader:
        share = Share(len(self.batches), self.trainer.global_rank, self.trainer.world_size, self.done)
        return DataLoader(self.batches, batch_size=None, sampler=share)

    def test_step(self, batch: Any, batch_index: int) -> STEP_OUTPUT:
        self.part.add(self.model, regress(self.model, Observations(*batch)))
        self.advance(self.rows_of_round(self.done))
        self.done += 1
        if time.monotonic() - self._saved >= self.save_every:
            self.save(self.own_path, self.done)
        return None

    def save(self, path: Path, done: int) -> None:
        files.write_tensors(path, self.part.sums(), {"identity": self.identity, "done": str(done)})
        self._saved = time.monotonic()

    def finish(self) -> None:
        """Add the sums of all processes, once; the first one keeps them. Lightning calls no hook where a process has no
        batch, so that this is none.
        """
        if self.trainer.world_size > 1:
            strategy = self.trainer.strategy
            self.part.restore(
                {
                    name: strategy.reduce(value.to(strategy.root_device), reduce_op="sum").cpu()
                    for name, value in self.part.sums().items()
                }
            )
        if self.trainer.is_global_zero:
            self.save(self.finished_path, len(self.batches))
            for path in self.folder.glob(f"{self.pass_name}-*-of-*.safetensors"):
                path.unlink(missing_ok=True)
        self.trainer.strategy.barrier()


def stream(module: StreamingPass, where: Hardware) -> None:
    """Do the pass, or take its finished sums."""
    if module.restored(module.finished_path) is not None:
        module.advance(len(module.batches.rows))
        return
    device, trainer = module.model.device, for_one_pass(where, where.precision)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(num_workers|DistributedSampler|devices=1).*")
        trainer.test(module, verbose=False)
    module.finish()
    module.model.to(device)  # Lightning leaves it on the CPU
