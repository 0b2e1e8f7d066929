"""What a record of typed inputs says of a result: the plain data that fingerprints are made of.

A record is a frozen dataclass. Each of its fields enters under its own name, unless it is declared `neutral`: of no
effect on the result. What stands for something large (a file, a data set, an artefact) enters by its own `identity`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, field, fields, is_dataclass
from typing import Any


def neutral(default: Any = MISSING, default_factory: Any = MISSING) -> Any:
    """A field that no result depends on: devices, batches that change no number, folders to work in."""
    given = {} if default is MISSING else {"default": default}
    made = {} if default_factory is MISSING else {"default_factory": default_factory}
    return field(**given, **made, metadata={"neutral": True})


def where_given(default: Any = MISSING, default_factory: Any = MISSING) -> Any:
    """A field that enters an identity only where it is neither empty nor None: most runs have nothing of the kind."""
    given = {} if default is MISSING else {"default": default}
    made = {} if default_factory is MISSING else {"default_factory": default_factory}
    return field(**given, **made, metadata={"where_given": True})


def declared(record: Any) -> list[Field[Any]]:
    """The fields of a record that its result depends on."""
    return [part for part in fields(record) if not part.metadata.get("neutral") and not _is_left_out(record, part)]


def _is_left_out(record: Any, part: Field[Any]) -> bool:
    return "where_given" in part.metadata and not getattr(record, part.name)


def identity_of(value: Any) -> Any:
    """`value` as plain data, without what is neutral.

    Raises:
        TypeError: it is neither plain data, nor a record of such, nor has it an `identity` of its own.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if hasattr(value, "identity"):
        return identity_of(value.identity)
    if is_dataclass(value) and not isinstance(value, type):
        return {part.name: identity_of(getattr(value, part.name)) for part in declared(value)}
    if isinstance(value, Mapping):
        return {str(key): identity_of(entry) for key, entry in value.items()}
    if isinstance(value, Sequence):
        return [identity_of(entry) for entry in value]
    raise TypeError(f"{value!r} cannot be part of an identity: give a record of it, or declare it neutral.")
