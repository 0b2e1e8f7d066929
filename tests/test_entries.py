"""Dataclasses come back from their JSON as they were, and whatever else stands there is named by its place."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from genuq import entries, files
from genuq.errors import ArtefactError


@dataclass(frozen=True)
class Inner:
    value: float | None
    count: int


@dataclass(frozen=True)
class Outer:
    name: str
    found: bool | None
    inner: Inner | None
    several: Mapping[str, Sequence[Inner]]
    rows: Sequence[Sequence[Any]]
    more: Sequence[str] = field(default_factory=list)


WHOLE = Outer("a", None, Inner(2, 3), {"b": [Inner(None, 1)]}, [[1, "x", None], [2.5, "y", True]])


def test_what_was_written_is_read_back_with_the_same_bytes(tmp_path):
    files.write_json(tmp_path / "one.json", files.plain(WHOLE))
    found = entries.read(tmp_path / "one.json", Outer)
    assert found == WHOLE
    files.write_json(tmp_path / "two.json", files.plain(found))
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_a_key_may_be_missing_where_there_is_a_default():
    plain = files.plain(WHOLE)
    del plain["more"]
    assert entries.from_json(Outer, plain) == WHOLE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nmae": 1}, "'nmae' is not a key of this version. Did you mean 'name'?"),
        ({"inner": {"value": 1.0}}, "'inner.count' is missing"),
        ({"inner": {"value": 1.0, "count": True}}, "'inner.count' is a bool, not a int"),
        ({"inner": {"value": "1", "count": 1}}, "'inner.value' is a str, not a float"),
        ({"inner": []}, "'inner' is a list, not a dict"),
        ({"several": {"b": [{"value": None}]}}, r"'several.b\[0\].count' is missing"),
        ({"several": None}, "'several' is a NoneType, not a dict"),
        ({"rows": [1]}, r"'rows\[0\]' is a int, not a list"),
        ({"found": 1}, "'found' is a int, not a bool"),
    ],
)
def test_what_does_not_belong_there_is_named_by_its_place(tmp_path, change, message):
    path = tmp_path / "entry.json"
    path.write_text(json.dumps(files.plain(WHOLE) | change))
    with pytest.raises(ArtefactError, match=f"entry.json: {message}"):
        entries.read(path, Outer)
