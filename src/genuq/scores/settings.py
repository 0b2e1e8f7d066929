"""What a score may leave out: points of the path or noise levels, members, noisings; and every setting that does so."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from genuq.errors import ConfigurationError
from genuq.parts.bounds import check, declared
from genuq.scores.registry import ScorePart

PLACES = ("points", "times")  # options that are sequences, any part of which is a setting
NUMBERS = ("members", "noisings", "pairs")  # of which the first few are as good as any others
MOST = 1024  # settings that a pilot compares

Setting = Mapping[str, Any]  # the options among those above that a score has


def full_setting(part: ScorePart, options: Mapping[str, Any], draws: int) -> Setting:
    """All the work that a score was asked to do.

    Args:
        options: of the score, as they were given.
        draws: M of the posterior, which no `members` mean.
    """
    known = {each.name: each for each in fields(part.options)}
    found = {name: options.get(name, _default(known[name])) for name in (*PLACES, *NUMBERS) if name in known}
    return {name: draws if name == "members" and value is None else value for name, value in found.items()}


def smaller_settings(
    part: ScorePart, options: Mapping[str, Any], draws: int, nested: bool = False
) -> list[dict[str, Any]]:
    """Every setting of a score that does a part of its work, each behind those that it holds, the full one last.

    Args:
        nested: of points and noise levels only the first few in their order, so that each setting of their number
            holds the one before it.

    Raises:
        ConfigurationError: there are too many of them.
    """
    full = full_setting(part, options, draws)
    counts = [2 ** len(value) - 1 if name in PLACES and not nested else 1 for name, value in full.items()]
    if max(counts, default=1) <= MOST:
        choices = [_parts(part, name, value, nested) for name, value in full.items()]
        if (count := _product([len(one) for one in choices])) <= MOST:
            return [dict(zip(full, chosen)) for chosen in itertools.product(*choices)]
    else:
        count = max(counts)
    key = next(part.key_of(name) for name in full if name in PLACES)
    raise ConfigurationError(
        f"score.{key} and the other options of '{part.name}' make {count:,} settings or more, of which at most "
        f"{MOST:,} can be compared. Give fewer points, times, members or noisings."
    )


def _product(numbers: Sequence[int]) -> int:
    total = 1
    for number in numbers:
        total *= number
    return total


def _parts(part: ScorePart, name: str, value: Any, nested: bool) -> list[Any]:
    """What an option may be in place of its full value, which is the last."""
    if name in PLACES:
        sizes = range(1, len(value) + 1)
        if nested:
            return [list(value[:size]) for size in sizes]
        return [list(chosen) for size in sizes for chosen in itertools.combinations(value, size)]
    least = 2 if name == "members" and "several" in part.needs else 1
    return [number for number in range(least, value + 1) if number == value or _is_allowed(part, name, number)]


def _is_allowed(part: ScorePart, name: str, value: int) -> bool:
    try:
        check(name, value, declared(part.resolve()).get(name, Any))
    except ConfigurationError:
        return False
    return True


def _default(option: Any) -> Any:
    return option.default if option.default_factory is MISSING else option.default_factory()
