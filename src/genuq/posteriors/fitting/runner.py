"""One pass over data, shared by all processes of a run, and resumed where it was killed.

Batch b belongs to process b modulo their number, unpadded, so that the sums over processes are those of one process.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from genuq import files
from genuq.models import GenerativeModel
from genuq.parallel import collectives
from genuq.posteriors.fitting.passes import Pass
from genuq.posteriors.fitting.regression import RegressionBatches, regress

MIXED = {"16-mixed": torch.float16, "16": torch.float16, "bf16-mixed": torch.bfloat16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class PassRunner:
    """Does the passes of one fit.

    Args:
        model: the frozen model, on its device.
        folder: for the sums so far, `NAME-RANK-of-COUNT.safetensors`, and the finished ones, `NAME.safetensors`; None
            keeps nothing.
        identity: what the sums depend on; files of another identity are not used.
        precision: as the trainer has it: a mixed one (`bf16-mixed`, `16-mixed`) is autocast to, any other leaves the
            network in that of its weights.
        advance: called with the rows that all processes together have just done.
        save_every: seconds between two saves of the sums so far.
    """

    model: GenerativeModel
    folder: Path | None = None
    identity: str = ""
    precision: str = "32-true"
    advance: Callable[[int], None] = lambda rows: None
    save_every: float = 30.0

    @torch.no_grad()
    def run(self, part: Pass, batches: RegressionBatches, name: str) -> None:
        """Add all batches to `part`, or take the finished sums; afterwards every process holds the sums of all.

        Raises:
            ArtefactError: stored sums are broken.
        """
        finished = self._path(name)
        if self._restored(part, finished) is not None:
            self.advance(len(batches.rows))
            return
        rank, count = collectives.rank_and_count()
        own = self._path(f"{name}-{rank}-of-{count}")
        done = self._restored(part, own) or 0
        self.advance(sum(rows_of_round(batches, number, count) for number in range(done)))
        saved = time.monotonic()
        for number in collectives.share(len(batches), done):
            with autocast(self.precision, self.model.device):
                part.add(self.model, regress(self.model, batches[number]))
            self.advance(rows_of_round(batches, done, count))
            done += 1
            if own is not None and time.monotonic() - saved >= self.save_every:
                self._save(part, own, done)
                saved = time.monotonic()
        self._finish(part, name, len(batches))

    def _finish(self, part: Pass, name: str, batches: int) -> None:
        """Add the sums of all processes; the first one keeps them."""
        if collectives.rank_and_count()[1] > 1:
            part.restore(collectives.added(part.sums()))
        if self.folder is not None and collectives.is_first_process():
            self._save(part, self.folder / f"{name}.safetensors", batches)
            for path in self.folder.glob(f"{name}-*-of-*.safetensors"):
                path.unlink(missing_ok=True)
        collectives.wait_for_all()

    def _path(self, name: str) -> Path | None:
        return None if self.folder is None else self.folder / f"{name}.safetensors"

    def _restored(self, part: Pass, path: Path | None) -> int | None:
        """Take the sums of a file; returns how many batches they hold, None where it is of other work."""
        if path is None or not path.exists():
            return None
        sums, metadata = files.read_tensors(path)
        if metadata.get("identity") != self.identity:
            return None
        part.restore(sums)
        return int(metadata["done"])

    def _save(self, part: Pass, path: Path, done: int) -> None:
        files.write_tensors(path, part.sums(), {"identity": self.identity, "done": str(done)})


def rows_of_round(batches: RegressionBatches, number: int, count: int) -> int:
    """Rows of the batches that `count` processes do while one of them does its batch of this number."""
    first = number * count
    return sum(batches.rows_in(batch) for batch in range(first, min(first + count, len(batches))))


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[None]:
    """The forward passes of a mixed precision; CPUs know bfloat16 alone."""
    if (dtype := MIXED.get(str(precision))) is None:
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if device.type == "cpu" else dtype)
