"""What an artefact takes adds up, by purpose and by direction."""

from __future__ import annotations

from genuq.planning.work import Sum, Work, rows_of


def test_rows_of_one_purpose_come_together() -> None:
    total = Sum()
    total.add("sampling", 10.0)
    total.add("fit", 3.0, 2.0)
    total.add("sampling", 5.0, 1.0)
    assert total.found == {"sampling": (15.0, 1.0), "fit": (3.0, 2.0)}


def test_work_counts_forwards_apart_from_backwards_and_both_together() -> None:
    found = {"sampling": (15.0, 1.0), "fit": (3.0, 2.0)}
    work = Work(found, [], {}, amount=1.0, bytes=0)
    assert (work.forward, work.backward, rows_of(found)) == (18.0, 3.0, 21.0)
