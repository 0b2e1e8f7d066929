"""What a measurement asks for, by a clock of our own."""

from __future__ import annotations

import pytest

from genuq.planning import measuring


def test_what_the_first_pass_of_all_takes_does_not_make_the_measured_batch_smaller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, asked = [0.0], []

    def work(rows: int) -> None:
        asked.append(rows)
        now[0] += 2.0 if len(asked) == 1 else 0.05 + 0.0001 * rows

    monkeypatch.setattr(measuring.time, "perf_counter", lambda: now[0])
    found = measuring.bearable(work, batch=120)
    assert asked[:7] == [1, 1, 4, 16, 64, 120, 120] and found == pytest.approx(0.0001 + 0.05 / 120)


def test_rows_that_take_long_are_tried_once_and_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now, asked = [0.0], []

    def work(rows: int) -> None:
        asked.append(rows)
        now[0] += 10.0 * rows

    monkeypatch.setattr(measuring.time, "perf_counter", lambda: now[0])
    assert measuring.bearable(work, batch=120) == pytest.approx(10.0) and set(asked) == {1} and len(asked) == 3
