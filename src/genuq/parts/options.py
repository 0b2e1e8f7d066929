"""The options of a part, read off what builds it: each default stands once, in the part itself."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union

from genuq.parts.bounds import declared

BOUNDS = "bounds"  # in the metadata of an option's field: its type with the bounds declared there
PLAIN = (bool, int, float, str)
LISTS = (list, tuple, set, frozenset, Sequence, Iterable)


@functools.lru_cache(maxsize=512)
def options_of(target: Callable[..., Any], skip: frozenset[str] = frozenset(), leading: int = 0) -> type:
    """The options that `target` takes, as a dataclass of plain types.

    Its fields are the parameters by name, their types and their defaults; a parameter without a default has none, and
    all are keyword-only. Types are those that a configuration file can hold: `bool`, `int`, `float`, `str`, enums,
    lists and dictionaries of them, each optional or not; a sequence or a tuple becomes a list, a path a `str`, what is
    ambiguous `Any`. A parameter that no configuration can give (a tensor, a function) is left out if it has a default.

    Args:
        target: a class, a dataclass or a function.
        skip: parameters that genuq gives.
        leading: how many of the first parameters genuq gives, whatever they are called.
    """
    known = declared(target)
    fields = [
        made
        for parameter in parameters_of(target, skip, leading).values()
        if (made := _field(parameter, hints_of(target), _factories(target), known.get(parameter.name, Any))) is not None
    ]
    return dataclasses.make_dataclass(f"{getattr(target, '__name__', 'Part')}Options", fields, kw_only=True)


def parameters_of(
    target: Callable[..., Any], skip: Iterable[str] = (), leading: int = 0
) -> dict[str, inspect.Parameter]:
    """The named parameters of a class, a dataclass or a function, but for those that genuq gives."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = list(inspect.signature(target).parameters.values())[leading:]
    return {known.name: known for known in found if known.kind in named and known.name not in skip}


def as_wanted(target: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Options from a configuration as `target` takes them: tuples where it wants tuples."""
    hints = hints_of(target)
    return {
        name: tuple(value) if isinstance(value, list) and _wants_tuple(hints.get(name)) else value
        for name, value in options.items()
    }


def hints_of(target: Callable[..., Any]) -> dict[str, Any]:
    """Types of the parameters by name; none where they name what only a type checker imports."""
    return dict(declared(target, bounds=False))


def _factories(target: Callable[..., Any]) -> dict[str, Callable[[], Any]]:
    if not dataclasses.is_dataclass(target):
        return {}
    fields = dataclasses.fields(target)
    return {each.name: each.default_factory for each in fields if each.default_factory is not dataclasses.MISSING}


def _field(
    parameter: inspect.Parameter, hints: Mapping[str, Any], factories: Mapping[str, Callable[[], Any]], bounds: Any
) -> tuple[str, Any, Any] | None:
    plain, empty = plain_type(hints.get(parameter.name, Any)), inspect.Parameter.empty
    metadata = {BOUNDS: bounds}
    if parameter.default is empty:
        return parameter.name, Any if plain is None else plain, dataclasses.field(metadata=metadata)
    if plain is None:
        return None
    default = factories[parameter.name]() if parameter.name in factories else parameter.default
    if isinstance(default, str) and typing.get_origin(plain) is list:
        default = [default]
    kind = _with_none(plain) if default is None else plain
    return parameter.name, kind, dataclasses.field(**_default(default), metadata=metadata)


def _default(value: Any) -> dict[str, Any]:
    """The default of a field; sequences are lists, each configuration has its own."""
    if isinstance(value, Path):
        return {"default": str(value)}
    if isinstance(value, list | tuple | set | frozenset):
        return {"default_factory": functools.partial(list, value)}
    if isinstance(value, Mapping):
        return {"default_factory": functools.partial(dict, value)}
    return {"default": value}


def _with_none(plain: Any) -> Any:
    return plain if plain is Any else plain | None


def plain_type(hint: Any) -> Any:
    """The type that a configuration has for a hint; None where it can hold no such value."""
    if hint is Any or hint in PLAIN or (isinstance(hint, type) and issubclass(hint, Enum)):
        return hint
    if hint is Path:
        return str
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return type(inside[0])
    if origin in (Union, types.UnionType):
        return _union(inside)
    if (origin or hint) in LISTS:
        return _list(inside)
    if (origin or hint) in (dict, Mapping):
        return dict[str, Any]
    return None


def _union(inside: Sequence[Any]) -> Any:
    """One type, or it and None; Any where several remain."""
    known = list(dict.fromkeys(plain_type(part) for part in inside if part is not types.NoneType))
    known = [part for part in known if part is not None]
    if float in known and int in known:
        known.remove(int)
    if list[str] in known and str in known:  # a word is a list of one
        known.remove(str)
    if not known:
        return None
    only = known[0] if len(known) == 1 else Any
    return _with_none(only) if types.NoneType in inside else only


def _list(inside: Sequence[Any]) -> Any:
    kinds = {plain_type(part) for part in inside if part is not Ellipsis}
    only = kinds.pop() if len(kinds) == 1 else Any
    return list[only] if only is not None else None  # type: ignore[valid-type]


def _wants_tuple(hint: Any) -> bool:
    choices = typing.get_args(hint) if typing.get_origin(hint) in (Union, types.UnionType) else (hint,)
    return any((typing.get_origin(choice) or choice) is tuple for choice in choices)
