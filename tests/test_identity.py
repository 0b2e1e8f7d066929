"""Records as the plain data that fingerprints are made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from genuq.identity import declared, identity_of, neutral
from genuq.parallel.hardware import Hardware
from genuq.store.upstream import FileContent


@dataclass(frozen=True)
class Example:
    one: int
    many: tuple[float, ...]
    hardware: Hardware
    place: Path = neutral()


def test_an_identity_is_plain_data_without_what_is_neutral() -> None:
    example = Example(1, (0.5, 2.0), Hardware(devices=4, precision="bf16-mixed"), place=Path("x"))
    hardware = {"precision": "bf16-mixed", "gradient_clip": 1.0}
    assert identity_of(example) == {"one": 1, "many": [0.5, 2.0], "hardware": hardware}
    assert identity_of({"file": FileContent("abc", path=Path("y"))}) == {"file": "abc"}


def test_what_has_no_identity_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot be part of an identity"):
        identity_of({"path": Path("x")})


def test_what_is_neutral_is_still_given() -> None:
    assert [part.name for part in declared(Example(1, (), Hardware(), place=Path("x")))] == ["one", "many", "hardware"]
    with pytest.raises(TypeError, match="place"):
        Example(1, (), Hardware())
