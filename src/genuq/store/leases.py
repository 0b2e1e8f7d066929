"""Locks that hold wherever a store lies: on a local disk, on a file system that machines share, in an object store.

A lease is a row of numbered notes, of which the highest counts. Who wants it makes the next number, which of several
that try only one can (a hard link, or a conditional put): no lock of the file system is asked for, which NFS and
Lustre have only where they are mounted so. Its holder writes the note anew every `BEAT` seconds. A note that says that
it was let go is free, and so is one whose holder is dead: at once where that process was one of this machine, else
when the note has stood unchanged for `STALE` seconds of the waiting process's own clock, so that clocks need not agree.
The highest number is never taken away, and so never given twice.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from genuq.errors import ProcessError

BEAT = 15.0  # seconds between two signs of life
STALE = 120.0  # seconds without one, after which the holder counts as dead
FORGOTTEN = 3600.0  # seconds without one, by the clock of whoever looks in passing, for the same
LOOKS = (0.02, 1.0)  # seconds between two looks at a lease that another has, at first and at most


class Shelf(Protocol):
    """Where notes lie, each under a name."""

    def create(self, name: str, content: bytes) -> bool:
        """Write a note; False, and nothing done, where there is one of this name, also by somebody else just now."""

    def write(self, name: str, content: bytes) -> None:
        """Write over a note, whole."""

    def read(self, name: str) -> bytes | None:
        """None where there is none."""

    def names(self, beginning: str) -> list[str]:
        """Those that begin so."""

    def remove(self, name: str) -> None:
        """Whether it is there or not."""

    def clear(self) -> None:
        """Take all away."""


@dataclass(frozen=True)
class Folder:
    """Notes as files of a folder, on any file system with hard links or exclusive creation."""

    path: Path

    def create(self, name: str, content: bytes) -> bool:
        with self._written(name, content) as temporary:
            try:
                os.link(temporary, self.path / name)
            except FileExistsError:
                return os.stat(temporary).st_nlink == 2  # made, and the answer lost: NFS asks again
            except OSError:  # no hard links here
                return self._opened_first(name, content)
        return True

    def _opened_first(self, name: str, content: bytes) -> bool:
        try:
            with open(self.path / name, "xb") as file:
                file.write(content)
        except FileExistsError:
            return False
        return True

    def write(self, name: str, content: bytes) -> None:
        with self._written(name, content) as temporary:
            os.replace(temporary, self.path / name)

    @contextlib.contextmanager
    def _written(self, name: str, content: bytes) -> Iterator[Path]:
        """A file of this content under a name of its own; gone afterwards."""
        self.path.mkdir(parents=True, exist_ok=True)
        temporary = self.path / f".{name}.{uuid.uuid4().hex}"
        try:
            temporary.write_bytes(content)
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)

    def read(self, name: str) -> bytes | None:
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None

    def names(self, beginning: str) -> list[str]:
        try:
            return [name for name in os.listdir(self.path) if name.startswith(beginning)]
        except FileNotFoundError:
            return []

    def remove(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)

    def clear(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


@dataclass
class Lease:
    """One lock; an object a holder.

    Attributes:
        shelf: where its notes lie.
        name: of the lock; notes are `NAME.1`, `NAME.2`, ...
        number: of the note that this object holds; 0 while it holds none.
    """

    shelf: Shelf
    name: str
    number: int = 0
    _token: str = field(default_factory=lambda: uuid.uuid4().hex)
    _seen: tuple[bytes | None, float] = (None, 0.0)
    _end: threading.Event = field(default_factory=threading.Event)
    _writing: threading.Lock = field(default_factory=threading.Lock)

    def attempt(self) -> bool:
        """Take it where it is free; whether it is held now."""
        newest, note = self._newest()
        if note is not None and not self._is_free(note):
            return False
        number = newest + 1
        if not self.shelf.create(f"{self.name}.{number}", self._note(0)):
            return False
        if self._numbers()[-1] > number:  # others had come and gone since the look
            self.shelf.remove(f"{self.name}.{number}")
            return False
        self.number, self._end = number, threading.Event()
        self._forget_lower()
        threading.Thread(target=self._beat, args=(self._end,), daemon=True).start()
        return True

    def wait(self, waiting: Callable[[], None], patience: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Take it as soon as it is free.

        Args:
            waiting: called at the start of the wait, and every `patience` seconds of it.
            until: asked at each look; where it says so, nothing is waited for any more.

        Returns:
            whether it is held now.
        """
        told, pause = -float("inf"), LOOKS[0]
        while not self.attempt():
            if until():
                return False
            if time.monotonic() - told >= patience:
                waiting()
                told = time.monotonic()
            time.sleep(pause)
            pause = min(2 * pause, LOOKS[1])
        return True

    def release(self) -> None:
        """Let it go, where it is held."""
        self._end.set()
        with self._writing:
            if self.number and not self.is_lost():
                self._say_released(f"{self.name}.{self.number}")
        self.number = 0

    def _say_released(self, name: str) -> None:
        try:
            self.shelf.write(name, self._note(0, released=True))
        except OSError:  # the disk is full: what cannot be written can be taken away
            self.shelf.remove(name)

    def clear(self) -> None:
        """Take away all its notes, of something that is no more."""
        for number in self._numbers():
            self.shelf.remove(f"{self.name}.{number}")

    def is_lost(self) -> bool:
        """Whether another holds it, who took this process for dead."""
        return self._numbers()[-1:] != [self.number]

    def require(self) -> None:
        """Raise ProcessError where the lease was lost while this process stood still."""
        if self.is_lost():
            raise ProcessError(
                f"{self.name}: another run took this one for dead, which gave no sign of life for {STALE:.0f} s, and "
                "goes on in its place. Nothing is lost: run the same command again."
            )

    def looks_free(self) -> bool:
        """Whether nobody has it, at one look from outside."""
        _, note = self._newest()
        if note is None or self._is_free(note):
            return True
        return time.time() - read_note(note).get("time", 0.0) > FORGOTTEN

    def _newest(self) -> tuple[int, bytes | None]:
        """The highest number and its note; 0 where there is none."""
        numbers = self._numbers()
        return (numbers[-1], self.shelf.read(f"{self.name}.{numbers[-1]}")) if numbers else (0, None)

    def _numbers(self) -> list[int]:
        found = (re.fullmatch(r"\.(\d+)", name[len(self.name) :]) for name in self.shelf.names(f"{self.name}."))
        return sorted(int(match[1]) for match in found if match)

    def _forget_lower(self) -> None:
        for number in self._numbers():
            if number < self.number:
                self.shelf.remove(f"{self.name}.{number}")

    def _is_free(self, note: bytes) -> bool:
        told = read_note(note)
        if told.get("released") or is_dead_here(told):
            return True
        if note != self._seen[0]:
            self._seen = (note, time.monotonic())
        return time.monotonic() - self._seen[1] >= STALE

    def _note(self, beats: int, released: bool = False) -> bytes:
        told = {"token": self._token, "beats": beats, "released": released, "time": time.time(), **this_process()}
        return json.dumps(told).encode()

    def _beat(self, end: threading.Event) -> None:
        """Give signs of life until the lease is let go or lost."""
        beats, name, pid = 0, f"{self.name}.{self.number}", os.getpid()
        while not end.wait(BEAT) and os.getpid() == pid:
            with contextlib.suppress(OSError), self._writing:  # a file system may be away for a while
                if end.is_set() or self.is_lost():
                    return
                beats += 1
                self.shelf.write(name, self._note(beats))


def read_note(note: bytes) -> dict[str, Any]:
    """What a note says; nothing where it is not whole yet."""
    try:
        told = json.loads(note)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def this_process() -> dict[str, Any]:
    """By what a process of the same machine can tell whether this one lives."""
    return {"machine": this_machine(), "pid": os.getpid(), "began": began(os.getpid())}


def this_machine() -> str:
    """Its name, with what tells apart two boots of it and two containers of one name."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), os.readlink("/proc/self/ns/pid")]
    return " ".join(parts)


def began(pid: int) -> str | None:
    """When a process of this machine began, in ticks since the boot; None where that cannot be told, or it ended."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if told[0] in "ZX" else told[19]


def is_dead_here(told: dict[str, Any]) -> bool:
    """Whether a note's holder was a process of this machine that is no more."""
    if told.get("machine") != this_machine() or not isinstance(told.get("pid"), int):
        return False
    try:
        os.kill(told["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return told.get("began") is not None and began(told["pid"]) != told["began"]
