"""Samples in shards, dealt to the processes of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from genuq import files
from genuq.display import Display
from genuq.parallel import collectives
from genuq.pipeline.inputs import SamplerInputs
from genuq.store.artefact import StageFolder
from genuq.store.shards import shard_name

Advance = Callable[[int], None]
Make = Callable[[list[int], Advance], Mapping[str, Tensor]]


class Shard(NamedTuple):
    """Sample indices and the file for what is made of them."""

    indices: list[int]
    path: Path


def deal(sampler: SamplerInputs, folder: StageFolder, make: Make, display: Display, what: str, passes: int = 1) -> int:
    """Make the shards that `folder` still lacks, in all processes of the run; each returns when all shards are there.

    Args:
        sampler: how many samples there are, and in one shard.
        make: given indices and a function to call with the passes done, the tensors of these samples.
        what: is done, for the progress bar.
        passes: of one sample.

    Returns:
        how many samples were made now, by all processes.

    Raises:
        ArtefactError: a finished shard is broken.
    """
    all_shards = shards(sampler.samples, sampler.batch_size, folder.path)
    missing = collectives.agree([Shard(indices, path) for indices, path, finished in all_shards if not finished])
    count = sum(len(shard.indices) for shard in missing)
    with display.bar(what, sampler.samples * passes) as advance:
        advance((sampler.samples - count) * passes)
        if missing:
            make_shards(missing, make, {"fingerprint": folder.fingerprint}, advance)
    return count


def make_shards(
    missing: Sequence[Shard], make: Make, metadata: Mapping[str, str], advance: Callable[[float], None]
) -> None:
    """Make and write this process's shards of the missing ones.

    Args:
        metadata: of every file.
        advance: called with the progress of all processes, taken as that of this one.
    """
    _, count = collectives.rank_and_count()
    for number in collectives.share(len(missing)):
        shard, first = missing[number], number - number % count
        of_this_round = sum(len(other.indices) for other in missing[first : first + count])
        times = of_this_round / len(shard.indices)
        tensors = make(shard.indices, lambda done, times=times: advance(times * done))  # type: ignore[misc]
        files.write_tensors(shard.path, tensors, metadata)
    collectives.wait_for_all()


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
