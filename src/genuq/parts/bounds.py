"""What values an option can have, declared with its type where the option is: `steps: Count = 20`.

One declaration serves the configuration, which is checked before anything starts, parts that are made by their name,
and dataclasses of the library, which call `check_fields` when they are made.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import numbers
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, Union

from genuq.errors import ConfigurationError, did_you_mean

LARGEST_WHOLE = 2**31 - 1  # of what is counted: no machine has more of anything
LARGEST_NUMBER = 3.4e38  # that float32 holds, in which networks and samples are
LARGEST_SEED = 2**32 - 1  # of NumPy's and Lightning's generators


class Bound(Protocol):
    """What a type alone does not say of a value."""

    def problem(self, value: Any) -> str | None:
        """What would be right in place of this value of the right type; None where it is right."""


@dataclass(frozen=True)
class Limits:
    """Numbers between two ends.

    Attributes:
        least, most: the ends, which are possible themselves.
        above, below: ends in place of them, which are not.
    """

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None

    def problem(self, value: Any) -> str | None:
        inside = (
            (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )
        return None if inside else self.words(isinstance(value, numbers.Integral))

    def words(self, whole: bool) -> str:
        """What is possible, as the end of a sentence."""
        low, high = self.least if self.above is None else self.above, self.most if self.below is None else self.below
        if low is not None and high is not None:
            brackets = "[" if self.above is None else "(", "]" if self.below is None else ")"
            return f"it must lie in {brackets[0]}{low:.10g}, {high:.10g}{brackets[1]}"
        if low is None:
            return f"it must be {'below' if self.most is None else 'at most'} {high:.10g}"
        if whole and self.above is None:
            return f"at least {low:.10g} is needed"
        return f"it must be finite and {'at least' if self.above is None else 'above'} {low:.10g}"


@dataclass(frozen=True)
class Multiple:
    """Whole numbers of which one is a factor."""

    of: int

    def problem(self, value: Any) -> str | None:
        return f"a multiple of {self.of} is needed" if value % self.of else None


def at_least(least: float) -> Limits:
    """Numbers from one on."""
    return Limits(least=least)


class OneOf:
    """Words or numbers that are listed."""

    def __init__(self, *known: Any) -> None:
        self.known = known

    def problem(self, value: Any) -> str | None:
        if value in self.known:
            return None
        near = did_you_mean(str(value), map(str, self.known)).partition("?")
        return f"choose {' or '.join(', '.join(map(str, self.known)).rsplit(', ', 1))}" + (
            f" ({near[0].strip()}?)" if near[1] else ""
        )


@dataclass(frozen=True)
class Items:
    """Lists.

    Attributes:
        least, most: how many entries.
        distinct: none twice.
        ascending: each above the one before it.
        holding: an entry that must be among them.
    """

    least: int = 1
    most: int | None = None
    distinct: bool = False
    ascending: bool = False
    holding: Any = None

    def problem(self, value: Any) -> str | None:
        entries = list(value)
        if len(entries) < self.least or (self.most is not None and len(entries) > self.most):
            exactly = self.least == self.most
            return f"{'exactly' if exactly else 'at least' if len(entries) < self.least else 'at most'} " + (
                f"{_entries(self.least if len(entries) < self.least else self.most)} needed"
            )
        if self.distinct and len(set(entries)) < len(entries):
            return "each entry may stand there once"
        if self.ascending and any(one >= other for one, other in pairwise(entries)):
            return "each entry must be above the one before it"
        if self.holding is not None and self.holding not in entries:
            return f"{self.holding} must be among them"
        return None


def _entries(count: int | None) -> str:
    return "1 entry is" if count == 1 else f"{count} entries are"


Count = Annotated[int, at_least(1)]
Several = Annotated[int, at_least(2)]
WholeNumber = Annotated[int, at_least(0)]
Seed = Annotated[int, Limits(0, LARGEST_SEED)]
Positive = Annotated[float, Limits(above=0)]
NonNegative = Annotated[float, at_least(0)]
Share = Annotated[float, Limits(above=0, most=1)]  # of what cannot be nothing
Probability = Annotated[float, Limits(0, 1)]
Rate = Annotated[float, Limits(least=0, below=1)]  # of what is left out
Time = Annotated[float, Limits(above=0, most=1)]  # of a process, but for that of clean data
NoiseLevel = Annotated[float, Limits(above=0, below=1)]  # sigma / (alpha + sigma), neither clean data nor pure noise
Times = Annotated[tuple[NoiseLevel, ...], Items(distinct=True)]
Points = Annotated[tuple[Probability, ...], Items(distinct=True)]  # of a path: 0 its first step, 1 its last
Paired = Annotated[int, at_least(2), Multiple(2)]  # in antithetic pairs
Window = Annotated[tuple[Probability, Probability], Items(2, 2, ascending=True)]  # fractions, first and last

SEQUENCES = (list, tuple, set, frozenset, Sequence)
MAPPINGS = (dict, Mapping)


def check(key: str, value: Any, hint: Any) -> None:
    """Raise ConfigurationError unless a value is what its type and the bounds declared with it say.

    Args:
        key: where the value was given, for the message.
        hint: a type; one that says nothing of plain values passes them all.
    """
    if (problem := problem_of(value, hint)) is not None:
        shown = f"'{value}'" if isinstance(value, str) else list(value) if isinstance(value, tuple) else value
        raise ConfigurationError(f"{key} = {shown}; {problem}.")


def problem_of(value: Any, hint: Any, bounds: Sequence[Bound] = ()) -> str | None:
    """What would be right in place of a value; None where it is right, or where its type says nothing."""
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return problem_of(value, inside[0], [*inside[1:], *bounds])
    if origin in (Union, types.UnionType):
        return _of_union(value, inside, bounds)
    if origin is Literal:
        return OneOf(*inside).problem(value)
    if (origin or hint) in SEQUENCES:
        return _of_sequence(value, inside, bounds)
    if (origin or hint) in MAPPINGS:
        return (
            "values by their names are needed, {a: 1}" if _is_plain(value) and not isinstance(value, Mapping) else None
        )
    if hint in KINDS and _is_plain(value):
        return KINDS[hint](value) or _first(value, bounds) or _of_size(value, hint, bounds)
    return None


def _of_union(value: Any, inside: Sequence[Any], bounds: Sequence[Bound]) -> str | None:
    """Right where it is right as one of the alternatives; what is said is of the one whose type it has."""
    if value is None and types.NoneType in inside:
        return None
    alternatives = [part for part in inside if _speaks(part)]
    found = [problem_of(value, part, bounds) for part in alternatives]
    if not found or None in found:
        return None
    fitting = [said for said, part in zip(found, alternatives) if _has_type(value, part)]
    return (fitting or found)[0]


def _speaks(hint: Any) -> bool:
    """Whether a type says anything of plain values."""
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _speaks(inside[0])
    return origin is Literal or hint in KINDS or (origin or hint) in (*SEQUENCES, *MAPPINGS)


def _has_type(value: Any, hint: Any) -> bool:
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _has_type(value, inside[0])
    if (origin or hint) in SEQUENCES:
        return _is_sequence(value)
    return hint in KINDS and KINDS[hint](value) is None


def _of_sequence(value: Any, inside: Sequence[Any], bounds: Sequence[Bound]) -> str | None:
    if not _is_sequence(value):
        return "a list is written [a,b]" if value is None or isinstance(value, PLAIN) else None
    kinds = [kind for kind in inside if kind is not Ellipsis]
    for place, entry in enumerate(value):
        kind = kinds[place % len(kinds)] if kinds else Any
        if (problem := problem_of(entry, kind)) is not None:
            return f"of each entry, such as {entry!r}: {problem}"
    return _first(value, bounds)


def _first(value: Any, bounds: Sequence[Bound]) -> str | None:
    return next((said for bound in bounds if (said := bound.problem(value)) is not None), None)


def _of_size(value: Any, kind: Any, bounds: Sequence[Bound]) -> str | None:
    """What is larger than anything can be, where the bounds do not speak of size."""
    if kind is int and isinstance(value, int):
        own = any(isinstance(bound, Limits) and bound.most is not None for bound in bounds)
        return None if own or abs(value) <= LARGEST_WHOLE else f"at most {LARGEST_WHOLE} is possible"
    if kind is float and isinstance(value, numbers.Real) and not abs(value) <= LARGEST_NUMBER:  # type: ignore[operator]
        return "it must be finite" if not math.isfinite(value) else f"at most {LARGEST_NUMBER:g} is possible"
    return None


PLAIN = (bool, numbers.Real, str, Mapping)


def _is_sequence(value: Any) -> bool:
    return isinstance(value, list | tuple | set | frozenset | range)


def _whole(value: Any) -> str | None:
    right = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    return None if right else "a whole number is needed"


def _number(value: Any) -> str | None:
    right = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return None if right else "a number is needed"


def _word(value: Any) -> str | None:
    if isinstance(value, str):
        return None if value else "it is empty: leave it out, or give a word"
    return "a word is needed"


def _truth(value: Any) -> str | None:
    return None if isinstance(value, bool) else "choose true or false"


def _is_plain(value: Any) -> bool:
    """Whether this is a value as configurations have them; of others (tensors, say) a type of ours says nothing."""
    return value is None or isinstance(value, PLAIN) or _is_sequence(value)


KINDS: dict[Any, Callable[[Any], str | None]] = {int: _whole, float: _number, str: _word, Path: _word, bool: _truth}


# Where they are declared


@functools.lru_cache(maxsize=1024)
def declared(target: Any, bounds: bool = True) -> Mapping[str, Any]:
    """Types of the parameters of a class or a function, or of the fields of a dataclass, with or without their bounds.

    Nothing where they name what only a type checker imports.
    """
    source = target
    if isinstance(target, type) and not dataclasses.is_dataclass(target):
        source = target.__init__  # type: ignore[misc]
    try:
        return typing.get_type_hints(source, include_extras=bounds)
    except (NameError, TypeError, AttributeError):
        return {}


def check_fields(instance: Any, place: str) -> None:
    """Raise ConfigurationError for a field of a dataclass whose value its type or its bounds exclude.

    Args:
        place: where a configuration has the fields.
    """
    kind: Any = type(instance)
    hints = declared(kind)
    for field in dataclasses.fields(instance):
        value = getattr(instance, field.name)
        if not isinstance(value, Enum):
            check(f"{place}.{field.name}", value, hints.get(field.name, Any))


def check_options(target: Any, **options: Any) -> None:
    """Raise ConfigurationError for options of a class or a function whose values its types or its bounds exclude."""
    for name, value in options.items():
        check(name, value, declared(target).get(name, Any))
