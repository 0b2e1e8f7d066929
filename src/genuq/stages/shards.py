"""Samples a shard at a time: a killed stage finds its finished shards again and goes on with the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from genuq import files
from genuq.stages.run import Run


def shards(run: Run, folder: Path) -> Iterator[tuple[list[int], Path, bool]]:
    """The sample indices of each shard, its file in `folder`, and whether that is finished.

    Raises:
        ArtefactError: a finished shard is broken; it is named here, not used.
    """
    total, size = run.config.sampler.samples, run.config.sampler.batch_size
    for start in range(0, total, size):
        stop = min(start + size, total)
        path = folder / f"shard-{start:07d}-{stop:07d}.safetensors"
        finished = path.exists()
        if finished:
            files.read_tensors(path)
        yield list(range(start, stop)), path, finished


def read_shards(folder: Path) -> dict[str, Tensor]:
    """What all shards of a finished stage hold, in the order of the samples' indices."""
    parts = [files.read_tensors(path)[0] for path in sorted(folder.glob("shard-*.safetensors"))]
    names = [name for name in parts[0] if all(name in part for part in parts)]
    return {name: torch.cat([part[name] for part in parts]) for name in names}
