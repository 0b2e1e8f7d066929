"""The benchmark of the store counts each second once, and runs."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from genuq.bench import store
from genuq.cli.bench import parser


def test_nested_parts_count_once_and_are_put_back() -> None:
    def inner() -> None:
        time.sleep(0.02)

    owner = SimpleNamespace(inner=inner)
    owner.outer = lambda: (owner.inner(), owner.inner())
    outer = owner.outer
    with store.counting([(owner, "inner"), (owner, "outer")]) as spent:
        owner.outer()
        owner.inner()
        time.sleep(0.05)
    assert spent() >= 0.06 and owner.inner is inner and owner.outer is outer
    before = spent()
    owner.outer()
    assert spent() == before


@pytest.mark.slow
def test_a_run_and_the_same_again() -> None:
    records = store.run(parser().parse_args(["store", "--quick"]))
    assert [record["case"] for record in records] == ["from nothing", "again"]
    assert all(0 < record["store_seconds"] < record["seconds"] for record in records)
    assert "| again | 32 |" in store.table(records)
