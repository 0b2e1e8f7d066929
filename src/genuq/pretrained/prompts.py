"""Prompts and captions as rows: encoded all at once, or as they are asked for where all would be too many to hold."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from genuq.models import Conditions, Rows
from genuq.models.conditioning import Value
from genuq.pretrained.family import Encoded, Family, blank

AT_ONCE = 16  # prompts through the text encoders
HELD = 2**30  # bytes of rows that are held: 1,700 prompts of Stable Diffusion XL


@dataclass(frozen=True, eq=False)
class Texts:
    """The texts of a model and what encodes them.

    Attributes:
        pipe: whose text encoders they go through.
        family: whose rows they become.
        prompts: one for each row.
        negative: of the null row, one for all prompts or one for each; None: what the pipeline takes then.
    """

    pipe: Any
    family: Family
    prompts: Sequence[str]
    negative: str | Sequence[str] | None = None

    @property
    def own_nulls(self) -> bool:
        """Whether each prompt has a null row of its own."""
        return self.negative is not None and not isinstance(self.negative, str)

    def negatives(self, numbers: Sequence[int]) -> list[str] | None:
        """Of these prompts."""
        if self.negative is None or isinstance(self.negative, str):
            return None if self.negative is None else [self.negative] * len(numbers)
        return [self.negative[number] for number in numbers]

    def encoded(self, numbers: Sequence[int]) -> Encoded:
        """Of these prompts; the null row that all share only with the first."""
        guided = self.family.guidance is not None and (self.own_nulls or 0 in numbers)
        chosen = [self.prompts[number] for number in numbers]
        return self.family.encode(self.pipe, chosen, self.negatives(numbers), guided)


class EncodedWhenAsked:
    """Rows of prompts that are encoded when a batch asks for them, each by itself, so that no other prompt has a part.

    The text encoders stay in memory, on the device of the network. The rows asked for last are held: in a pass over
    more prompts than there is room for, each is encoded once if equal ones follow closely, and again in the next pass.

    Args:
        texts: the prompts.
        null: the row that all prompts share; None: none, or each has its own.
        room: number of prompts whose rows are held.
    """

    def __init__(self, texts: Texts, null: Rows | None, room: int) -> None:
        self.count = len(texts.prompts)
        self.nulls = int(null is not None) if not texts.own_nulls or texts.family.guidance is None else self.count
        self._texts, self._null = texts, null
        pairs = zip(texts.prompts, texts.negatives(range(self.count)) or [""] * self.count)
        first: dict[tuple[str, str], int] = {}
        self._same = [first.setdefault(pair, number) for number, pair in enumerate(pairs)]  # equal ones have one row
        self._held = functools.lru_cache(room)(self._encoded)

    def __deepcopy__(self, memo: object) -> EncodedWhenAsked:
        return self  # copies of a model ask the same text encoders

    def at(self, numbers: Sequence[int]) -> dict[str, Value]:
        """The rows of these numbers, on the CPU."""
        return _stacked([self._row(number) for number in numbers])

    def _row(self, number: int) -> Rows:
        if number < self.count:
            return self._held(self._same[number]).rows
        if self._null is not None:
            return self._null
        null = self._held(self._same[number - self.count]).null
        assert null is not None
        return null

    def _encoded(self, number: int) -> Encoded:
        device = next(getattr(self._texts.pipe, self._texts.family.component).parameters()).device
        _bring_encoders(self._texts.pipe, device)
        with torch.autocast(device.type, enabled=False):
            return self._texts.encoded([number])


def conditions_of(
    pipe: Any, family: Family, prompts: Sequence[str], negative: str | Sequence[str] | None, held: float | None = None
) -> Conditions:
    """The rows of all prompts, a few through the text encoders at a time; of too many, as they are asked for.

    Args:
        prompts: at least one.
        negative: of the null row, one for all prompts or one for each; None: what the pipeline takes then.
        held: bytes of rows that may lie in memory; None: HELD.
    """
    held = HELD if held is None else held
    texts, count = Texts(pipe, family, prompts, negative), len(prompts)
    parts = [texts.encoded(range(min(AT_ONCE, count)))]
    null = None if parts[0].null is None or texts.own_nulls else _one(parts[0].null)
    own = [part for part in (parts[0].rows, parts[0].null if texts.own_nulls else None) if part is not None]
    each = sum(map(bytes_of, own)) / min(AT_ONCE, count)
    if each * count > held:
        source = EncodedWhenAsked(texts, null, max(1, int(held / each)))
        return Conditions(source, None, family.shared(pipe), prompts)
    parts += [texts.encoded(range(at, min(at + AT_ONCE, count))) for at in range(AT_ONCE, count, AT_ONCE)]
    nulls = [part.null for part in parts if part.null is not None]
    nulls_of_all = _stacked(nulls) if texts.own_nulls and nulls else null
    return Conditions(_stacked([part.rows for part in parts]), nulls_of_all, family.shared(pipe), prompts)


def blank_conditions(
    pipe: Any, family: Family, prompts: Sequence[str], negative: str | Sequence[str] | None
) -> Conditions:
    """As many rows as there are prompts, of the shapes that they would have; empty ones where the family tells none."""
    own = 1 if negative is None or isinstance(negative, str) else len(prompts)
    guided = family.guidance is not None and family.guides(negative is not None)
    rows, null = (family.blank(pipe, count) or {"text": blank(count, 0)} for count in (len(prompts), own))
    return Conditions(rows, null if guided else None, family.shared(pipe), prompts)


def _bring_encoders(pipe: Any, device: torch.device) -> None:
    """Text encoders to a device; those that hooks move stay where they are."""
    for name, part in pipe.components.items():
        if not name.startswith("text_encoder") or not isinstance(part, nn.Module):
            continue
        hooked = any(hasattr(module, hook) for module in part.modules() for hook in ("_hf_hook", "_diffusers_hook"))
        if not hooked and next(part.parameters()).device != device:
            part.to(device)


def _one(rows: Rows) -> Rows:
    return {name: value[:1] for name, value in rows.items()}


def bytes_of(rows: Rows) -> int:
    """That rows take in memory."""
    return sum(row.numel() * row.element_size() for value in rows.values() for row in value)


def _stacked(parts: Sequence[Rows]) -> dict[str, Value]:
    return {name: _together([part[name] for part in parts]) for name in parts[0]}


def _together(parts: Sequence[Value]) -> Value:
    """Rows of several parts as those of one."""
    if isinstance(parts[0], list):
        return [row for part in parts for row in part]
    return torch.cat([torch.as_tensor(part) for part in parts])
