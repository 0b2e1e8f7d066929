"""Leases: one holder at a time, on any file system; of the dead they are taken over, and nobody else's."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from genuq.errors import ProcessError
from genuq.store import leases
from genuq.store.leases import Folder, Lease, is_dead_here, read_note, this_process
from support.programs import environment


@pytest.fixture
def shelf(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "locks")


def note_of(lease: Lease) -> dict[str, object]:
    return read_note(lease._newest()[1] or b"")


def from_elsewhere(shelf: Folder, name: str, number: int = 1, **more: object) -> None:
    """A note of a process of another machine."""
    told = {"token": "x", "beats": 3, "released": False, "time": time.time(), "machine": "other", "pid": 1, **more}
    assert shelf.create(f"{name}.{number}", json.dumps(told).encode())


def test_one_holds_it_until_it_lets_go(shelf: Folder) -> None:
    one, two = Lease(shelf, "x"), Lease(shelf, "x")
    assert one.looks_free() and one.attempt() and not two.attempt() and not two.looks_free()
    one.release()
    assert two.looks_free() and two.attempt() and not one.attempt()
    assert shelf.names("x") == ["x.2"], "lower numbers are gone"
    two.release()


def test_names_that_begin_alike_are_different_locks(shelf: Folder) -> None:
    assert Lease(shelf, "x").attempt() and Lease(shelf, "x.1").attempt() and Lease(shelf, "x-y").attempt()


HAMMER = """
import sys; from pathlib import Path
from genuq.store.leases import Folder, Lease
shelf, counted = Folder(Path(sys.argv[1]) / "locks"), Path(sys.argv[1]) / "count"
for _ in range(25):
    lease = Lease(shelf, "count")
    lease.wait(lambda: None, 60.0)
    number = int(counted.read_text())
    counted.write_text(str(number + 1))
    lease.release()
"""


def test_processes_that_count_under_it_miss_nothing(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("0")
    run = [sys.executable, "-c", HAMMER, str(tmp_path)]
    both = [subprocess.Popen(run, env=environment()) for _ in range(2)]
    assert [each.wait(120) for each in both] == [0, 0]
    assert (tmp_path / "count").read_text() == "50"


@pytest.mark.parametrize("links", [True, False], ids=["links", "exclusive creation"])
def test_of_many_that_try_at_once_one_gets_it(links: bool, shelf: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    if not links:
        monkeypatch.setattr(leases.os, "link", refuse)
    held = [Lease(shelf, "x") for _ in range(12)]
    start, got = threading.Barrier(len(held)), []

    def attempt(lease: Lease) -> None:
        start.wait()
        got.append(lease.attempt())

    threads = [threading.Thread(target=attempt, args=(lease,)) for lease in held]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(got) == 1 and len(shelf.names("")) == 1


def test_a_link_whose_answer_was_lost_counts(shelf: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """An NFS client that asks again is told that the name is there: it is its own."""
    link = os.link

    def twice(source: Path, target: Path) -> None:
        link(source, target)
        link(source, target)

    monkeypatch.setattr(leases.os, "link", twice)
    assert Lease(shelf, "x").attempt()


def test_it_is_let_go_on_a_full_disk(shelf: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    lease = Lease(shelf, "x")
    assert lease.attempt()
    with monkeypatch.context() as patched:
        patched.setattr(Folder, "write", full)
        lease.release()
    assert Lease(shelf, "x").attempt()


def test_of_a_process_that_died_here_it_is_free_at_once(shelf: Folder) -> None:
    if not (child := os.fork()):
        Lease(shelf, "x").attempt()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.01)
    while not (told := note_of(Lease(shelf, "x"))):
        time.sleep(0.01)
    assert told["pid"] == child
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # dead, and its parent has not looked yet
    assert is_dead_here(told) and Lease(shelf, "x").attempt()
    os.waitpid(child, 0)
    assert is_dead_here(told) and not is_dead_here(this_process())


def test_a_process_that_has_another_ones_number_is_not_taken_for_it(shelf: Folder) -> None:
    assert is_dead_here(this_process() | {"began": "1"})
    assert not is_dead_here(this_process() | {"machine": "other"})


def test_of_another_machine_it_is_taken_over_when_no_sign_of_life_came(
    shelf: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(leases.time, "monotonic", lambda: now[0])
    from_elsewhere(shelf, "x", time=0.0)  # whose clock is decades behind
    lease = Lease(shelf, "x")
    assert not lease.attempt()
    now[0] += leases.STALE - 1
    assert not lease.attempt()
    shelf.write("x.1", json.dumps({**note_of(lease), "beats": 4}).encode())
    now[0] += leases.STALE - 1
    assert not lease.attempt(), "there was a sign of life"
    now[0] += leases.STALE
    assert lease.attempt() and shelf.names("x") == ["x.2"]


def test_who_was_taken_for_dead_notices_and_disturbs_nobody(shelf: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = Lease(shelf, "x")
    assert lease.attempt()
    lease.require()
    from_elsewhere(shelf, "x", number=2)
    with pytest.raises(ProcessError, match=r"x: another run took this one for dead.*run the same command again"):
        lease.require()
    lease.release()
    assert not Lease(shelf, "x").attempt(), "it is still the other's"


def test_a_living_holder_gives_signs(shelf: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "BEAT", 0.01)
    lease = Lease(shelf, "x")
    assert lease.attempt()
    while note_of(lease)["beats"] < 3:  # type: ignore[operator]
        time.sleep(0.01)
    lease.release()
    time.sleep(0.05)
    assert note_of(lease)["released"] is True, "no sign of life comes after it was let go"


def test_who_looked_long_ago_is_not_let_in_beside_the_holder(shelf: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """It saw number 1 free; since then 2 came and went, and another holds 3."""
    for _ in range(2):
        each = Lease(shelf, "x")
        assert each.attempt()
        each.release()
    holder, late = Lease(shelf, "x"), Lease(shelf, "x")
    assert holder.attempt() and shelf.names("x") == ["x.3"]
    monkeypatch.setattr(late, "_newest", lambda: (1, b'{"released": true}'))
    assert not late.attempt() and shelf.names("x") == ["x.3"] and not holder.is_lost()


def test_a_look_in_passing_forgets_a_machine_of_long_ago(shelf: Folder) -> None:
    from_elsewhere(shelf, "new")
    from_elsewhere(shelf, "old", time=time.time() - 2 * leases.FORGOTTEN)
    assert not Lease(shelf, "new").looks_free() and Lease(shelf, "old").looks_free()


def test_a_note_that_is_not_whole_yet_is_somebodys(shelf: Folder) -> None:
    assert shelf.create("x.1", b"")
    assert not Lease(shelf, "x").attempt()


def test_a_wait_ends_when_there_is_nothing_to_wait_for(shelf: Folder) -> None:
    from_elsewhere(shelf, "x")
    said: list[int] = []
    assert not Lease(shelf, "x").wait(lambda: said.append(1), 0.0, until=lambda: len(said) == 2)
    assert len(said) == 2
