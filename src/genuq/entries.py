"""Dataclasses as JSON and back: `files.plain` writes one, and here its JSON is read, key by key.

A key that no field has, a key that is missing where its field has no default, or a value of another type is an error
that names where in the file it stands: what another version wrote is never taken for something else.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from genuq import files
from genuq.errors import ArtefactError, did_you_mean

Entry = TypeVar("Entry")


def from_json(kind: type[Entry], value: Any, where: str = "") -> Entry:
    """An entry from plain data, as `files.plain` writes it.

    Args:
        kind: a dataclass whose fields are numbers, text, truth values, None, sequences, mappings from text, or further
            such dataclasses; a field of type Any takes whatever stands there.
        value: parsed JSON.
        where: the path within the file so far, for messages.
    Raises:
        ArtefactError: a key too many or too few, or a value of another type, by its path `scores[0].auroc.n`.
    """
    found: Entry = _read(kind, value, where)
    return found


def read(path: str | Path, kind: type[Entry]) -> Entry:
    """The entry that a JSON file holds.

    Raises:
        ArtefactError: the file is missing, not whole JSON, or no such entry.
    """
    value = files.read_json(path)
    try:
        return from_json(kind, value)
    except ArtefactError as error:
        raise ArtefactError(f"{path}: {error} Delete it and run its stage again.") from error


def _read(kind: Any, value: Any, where: str) -> Any:
    if kind is Any:
        return value
    if is_dataclass(kind):
        return _fields(kind, value, where)
    origin, inner = get_origin(kind), get_args(kind)
    if NoneType in inner:
        (only,) = (one for one in inner if one is not NoneType)
        return None if value is None else _read(only, value, where)
    if origin is Mapping:
        return {key: _read(inner[1], item, f"{where}.{key}") for key, item in _of(dict, value, where).items()}
    if origin in (Sequence, list):
        items = _of(list, value, where)
        if inner[0] is Any:
            return items
        return [_read(inner[0], item, f"{where}[{place}]") for place, item in enumerate(items)]
    return _of(kind, value, where)


def _fields(kind: Any, value: Any, where: str) -> Any:
    given, known = _of(dict, value, where), _hints(kind)
    for key in given:
        if key not in known:
            raise ArtefactError(f"'{_joined(where, key)}' is not a key of this version.{did_you_mean(key, known)}")
    for field in fields(kind):
        if field.name not in given and field.default is MISSING and field.default_factory is MISSING:
            raise ArtefactError(f"'{_joined(where, field.name)}' is missing.")
    return kind(**{key: _read(known[key], item, _joined(where, key)) for key, item in given.items()})


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _joined(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _of(kind: Any, value: Any, where: str) -> Any:
    """The value itself, a whole number for any number among them; truth values are no numbers."""
    wanted = (int, float) if kind is float else kind
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind is not bool):
        raise ArtefactError(f"'{where}' is a {type(value).__name__}, not a {kind.__name__}.")
    return value
