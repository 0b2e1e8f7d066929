"""What a network is conditioned on beside a class: rows of named tensors, one for each prompt, with explicit null rows.

A prompt is called by its number, as a class is: samplers deal numbers out, data sets have them as labels.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from genuq.errors import ConfigurationError

Value = Tensor | list[Tensor]
Rows = Mapping[str, Value]
"""By name, a tensor (P, ...) or a list of P tensors of different lengths (ragged text)."""


class RowSource(Protocol):
    """Where rows come from: null rows are numbered behind those of the prompts.

    Attributes:
        count, nulls: numbers of prompts and of their null rows, a single one for all or one for each; 0: none.
    """

    count: int
    nulls: int

    def at(self, numbers: Sequence[int]) -> Mapping[str, Value]:
        """The rows of these numbers, on the CPU."""


class Table:
    """Rows that are all there.

    Args:
        rows, null: see Conditions.

    Raises:
        ConfigurationError: no rows, rows of different number, or null rows with other names or numbers.
    """

    def __init__(self, rows: Rows, null: Rows | None = None) -> None:
        self.count, self.nulls = _count(rows), 0 if null is None else _count(null)
        if null is not None and (set(null) != set(rows) or self.nulls not in (1, self.count)):
            raise ConfigurationError(
                f"conditions: {self.nulls} null rows of {', '.join(sorted(null))} beside {self.count} rows of "
                f"{', '.join(sorted(rows))}. Give one null row, or one for each row, of the same names."
            )
        self.values = {name: _joined(name, value, None if null is None else null[name]) for name, value in rows.items()}

    def at(self, numbers: Sequence[int]) -> dict[str, Value]:
        return {name: _picked(value, numbers) for name, value in self.values.items()}

    def filled(self) -> Table:
        """The same with zeros in place of rows without numbers, which take no memory."""
        made = copy.copy(self)
        made.values = {name: _filled(value) for name, value in self.values.items()}
        return made


class Conditions:
    """Rows of conditioning, of which a batch picks.

    Args:
        rows: of P prompts; or where they come from, null rows too.
        null: of no prompt or a negative one, for guidance: a single one for all prompts, or one for each.
        shared: what every row has (sizes, an embedded guidance scale); the batch axis comes first where it is a tensor,
            of length 1.
        prompts: what the rows say, for reports.

    Raises:
        ConfigurationError: no rows, rows of different number, or null rows with other names or numbers.
    """

    def __init__(
        self,
        rows: Rows | RowSource,
        null: Rows | None = None,
        shared: Mapping[str, Any] | None = None,
        prompts: Sequence[str] = (),
    ) -> None:
        self.source: RowSource = Table(rows, null) if isinstance(rows, Mapping) else rows
        self.shared, self.prompts = dict(shared or {}), list(prompts)

    def __len__(self) -> int:
        return self.source.count

    @property
    def nulls(self) -> int:
        """Number of null rows."""
        return self.source.nulls

    def filled(self) -> Conditions:
        """The same with zeros in place of rows without numbers, which take no memory."""
        made = copy.copy(self)
        made.source = self.source.filled() if isinstance(self.source, Table) else self.source
        return made

    def null_of(self, y_B: Tensor) -> Tensor:
        """The numbers of the null rows that belong to these rows (B,)."""
        return len(self) + (y_B if self.nulls == len(self) and self.nulls > 1 else torch.zeros_like(y_B))

    def at(self, y_B: Tensor) -> dict[str, Any]:
        """The rows of these numbers (B,), on their device, and what all rows share.

        Raises:
            ConfigurationError: a number beyond the rows.
        """
        numbers = [0] * len(y_B) if y_B.is_meta else y_B.tolist()  # of an outline any row tells the shape
        beyond = [number for number in numbers if not 0 <= number < len(self) + self.nulls]
        if beyond:
            raise ConfigurationError(
                f"condition {beyond[0]} is asked for, but there are {len(self)} prompts and {self.nulls} null rows."
            )
        found = {name: _moved(value, y_B.device) for name, value in self.source.at(numbers).items()}
        return {**found, **{name: _repeated(value, len(numbers), y_B.device) for name, value in self.shared.items()}}


def _filled(value: Value) -> Value:
    if isinstance(value, list):
        return [torch.zeros((), dtype=row.dtype).expand(row.shape) if row.is_meta else row for row in value]
    return torch.zeros((), dtype=value.dtype).expand(value.shape) if value.is_meta else value


def _count(rows: Rows) -> int:
    counts = {name: len(value) for name, value in rows.items()}
    if len(set(counts.values())) != 1 or not all(counts.values()):
        raise ConfigurationError(f"conditions: rows of different number, or none: {counts}. Give one a prompt of each.")
    return next(iter(counts.values()))


def _joined(name: str, rows: Value, null: Value | None) -> Value:
    """The rows and behind them the null rows."""
    if null is None:
        return rows
    if isinstance(rows, list) or isinstance(null, list):
        return [*rows, *null]
    if rows.shape[1:] != null.shape[1:]:
        raise ConfigurationError(
            f"conditions: null rows of '{name}' are {tuple(null.shape[1:])}, the others {tuple(rows.shape[1:])}. Pad "
            "them to one length with a mask, or give lists."
        )
    return torch.cat([rows, null])


def _picked(value: Value, numbers: Sequence[int]) -> Value:
    return [value[number] for number in numbers] if isinstance(value, list) else value[list(numbers)]


def _moved(value: Value, device: torch.device) -> Value:
    return [row.to(device) for row in value] if isinstance(value, list) else value.to(device)


def _repeated(value: Any, count: int, device: torch.device) -> Any:
    if not isinstance(value, Tensor):
        return value
    return value.to(device).expand(count, *value.shape[1:])


def padded(ragged: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Texts (L_i, D) of several lengths as one tensor (B, L, D), zeros behind their ends, and its mask (B, L), bool."""
    text = torch.nn.utils.rnn.pad_sequence(list(ragged), batch_first=True)
    lengths = torch.tensor([len(each) for each in ragged], device=text.device)
    return text, torch.arange(text.shape[1], device=text.device) < lengths[:, None]


def unpadded(text: Tensor, mask: Tensor | None) -> list[Tensor]:
    """The inverse of `padded`; no mask: nothing is padded."""
    return [row if mask is None else row[mask[place].bool()] for place, row in enumerate(text)]
