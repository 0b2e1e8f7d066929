"""Samples a shard at a time: a killed stage finds its finished shards again, and a reader takes only what it needs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from genuq import files
from genuq.errors import ArtefactError

PATTERN = "shard-*.safetensors"


def shard_name(start: int, stop: int) -> str:
    """The file of samples `start` to `stop` - 1."""
    return f"shard-{start:07d}-{stop:07d}.safetensors"


class Shards:
    """The columns of a finished stage, read from its shards only where asked for.

    Args:
        folder: with files `shard-START-STOP.safetensors`, of samples START to STOP - 1.

    Raises:
        ArtefactError: there are none.
    """

    def __init__(self, folder: str | Path) -> None:
        self.paths = sorted(Path(folder).glob(PATTERN))
        if not self.paths:
            raise ArtefactError(f"{folder} holds no shards. Run the stage that makes them.")
        self.ranges = [range(*map(int, path.stem.split("-")[1:])) for path in self.paths]

    def __len__(self) -> int:
        return self.ranges[-1].stop

    @cached_property
    def names(self) -> list[str]:
        """Of the columns that every shard has."""
        first, *rest = (files.tensor_names(path) for path in self.paths)
        return [name for name in first if all(name in other for other in rest)]

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Tensor:
        """Rows `start` to `stop` of a column, whatever shards they lie in."""
        stop = len(self) if stop is None else min(stop, len(self))
        parts = [
            files.read_rows(path, name, max(start - rows.start, 0), min(stop, rows.stop) - rows.start)
            for path, rows in zip(self.paths, self.ranges)
            if rows.start < stop and start < rows.stop
        ]
        return torch.cat(parts)

    def rows(self, name: str, chosen: Sequence[int]) -> Tensor:
        """Some rows of a column in the order asked for, a shard at a time."""
        wanted, none = torch.as_tensor(chosen, dtype=torch.long), files.read_rows(self.paths[0], name, 0, 0)
        found = none.new_empty((len(wanted), *none.shape[1:]))
        for rows in self.ranges:
            here = (wanted >= rows.start) & (wanted < rows.stop)
            if here.any():
                found[here] = self.read(name, rows.start, rows.stop)[wanted[here] - rows.start]
        return found


class Columns(Mapping[str, Tensor]):
    """Columns of a finished stage. Each is read when it is asked for and not kept: what is held is what is in use.

    Args:
        names: of the columns in the shards, by the names that they have here.
        beside: columns that are there already, in place of stored ones of the same name.
    """

    def __init__(self, shards: Shards, names: Mapping[str, str], beside: Mapping[str, Tensor] | None = None) -> None:
        self.shards, self.names, self.beside = shards, names, beside or {}

    def __getitem__(self, name: str) -> Tensor:
        return self.beside[name] if name in self.beside else self.read(self.names[name])

    def __iter__(self) -> Iterator[str]:
        yield from dict.fromkeys([*self.names, *self.beside])

    def __len__(self) -> int:
        return len(self.names.keys() | self.beside.keys())

    def __or__(self, others: Mapping[str, Tensor]) -> Columns:
        return type(self)(self.shards, self.names, {**self.beside, **others})

    def read(self, stored: str) -> Tensor:
        """All rows of a column by its name in the shards."""
        return self.shards.read(stored)


def read_shards(folder: str | Path, names: Collection[str] | None = None) -> dict[str, Tensor]:
    """What all shards of a finished stage hold, in the order of the samples' indices; only some columns if named."""
    found = Shards(folder)
    return {name: found.read(name) for name in found.names if names is None or name in names}
