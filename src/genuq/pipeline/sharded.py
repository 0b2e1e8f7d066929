"""Samples in shards, dealt to the processes of a run."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from genuq import files
from genuq.display import Display
from genuq.parallel import collectives
from genuq.pipeline.inputs import SamplerInputs
from genuq.store.artefact import StageFolder
from genuq.store.leases import LOOKS, Lease
from genuq.store.shards import shard_name

Advance = Callable[[int], None]
Make = Callable[[list[int], Advance], Mapping[str, Tensor]]


class Shard(NamedTuple):
    """Sample indices and the file for what is made of them."""

    indices: list[int]
    path: Path


def deal(sampler: SamplerInputs, folder: StageFolder, make: Make, display: Display, what: str, passes: int = 1) -> int:
    """Make the shards that `folder` still lacks, in all processes of the run; each returns when all shards are there.

    Other runs that share the store may work along: a shard is made by whoever claims it first. Where a process dies,
    its unfinished shard is free again, and the others go on with the rest.

    Args:
        sampler: how many samples there are, and in one shard.
        make: given indices and a function to call with the passes done, the tensors of these samples.
        what: is done, for the progress bar.
        passes: of one sample.

    Returns:
        how many samples were made now, by all processes of this run.

    Raises:
        ArtefactError: a finished shard is broken.
    """
    folder.exchange()
    all_shards = shards(sampler.samples, sampler.batch_size, folder.path)
    missing = collectives.agree([Shard(indices, path) for indices, path, finished in all_shards if not finished])
    count, made = sum(len(shard.indices) for shard in missing), 0
    others = collectives.agree(folder.has_claims())
    with display.bar(what, sampler.samples * passes) as advance:
        advance((sampler.samples - count) * passes)
        if missing:
            made = make_shards(in_turn(missing, others), make, folder, advance, passes)
    return round(collectives.totals({"made": made})["made"])


def make_shards(
    left: list[Shard], make: Make, folder: StageFolder, advance: Callable[[float], None], passes: int
) -> int:
    """Make and write those shards that no other process makes; returns when all are there.

    Args:
        left: the missing ones, in the order in which to try them.
        advance: called with the passes done, here or seen to have been done elsewhere.

    Returns:
        how many samples were made here.
    """
    made, pause = 0, LOOKS[0]
    claims = {shard.path.name: folder.claim(shard.path.stem) for shard in left}  # kept: they remember what they saw
    with collectives.undisturbed() as job_is_gone:
        while True:
            folder.exchange()
            there = set(os.listdir(folder.path))  # a look at the whole folder, which no machine has an old answer to
            advance(passes * sum(len(shard.indices) for shard in left if shard.path.name in there))
            left = [shard for shard in left if shard.path.name not in there]
            if not left or job_is_gone():
                break
            shard = next(
                (shard for shard in left if claimed(claims[shard.path.name], shard, make, folder, advance)), None
            )
            if shard is not None:
                made += len(shard.indices)
                left.remove(shard)
                pause = LOOKS[0]
            else:
                time.sleep(pause)
                pause = min(2 * pause, LOOKS[1])
    collectives.wait_for_all()
    return made


def in_turn(missing: Sequence[Shard], others: bool) -> list[Shard]:
    """All of them, from this process's share on: processes that begin together meet at the end.

    Args:
        others: whether other runs work on them, which began anywhere.
    """
    rank, count = collectives.rank_and_count()
    first = random.randrange(len(missing)) if others else rank * len(missing) // count
    return [*missing[first:], *missing[:first]]


def claimed(claim: Lease, shard: Shard, make: Make, folder: StageFolder, advance: Callable[[float], None]) -> bool:
    """Make and write a shard unless another process makes it, or has made it since; whether it was made here."""
    if not claim.attempt():
        return False
    try:
        folder.exchange()
        if shard.path.exists():
            return False
        files.write_tensors(shard.path, make(shard.indices, advance), {"fingerprint": folder.fingerprint})
        folder.exchange()
        return True
    finally:
        claim.release()


def shards(total: int, size: int, folder: Path) -> Iterator[tuple[list[int], Path, bool]]:
    """The sample indices of each shard, its file in `folder`, and whether that is finished.

    Args:
        total: samples.
        size: of a shard.

    Raises:
        ArtefactError: a finished shard is broken; it is named here, not used.
    """
    for start in range(0, total, size):
        stop = min(start + size, total)
        path = folder / shard_name(start, stop)
        finished = path.exists()
        if finished:
            files.read_tensors(path)
        yield list(range(start, stop)), path, finished
