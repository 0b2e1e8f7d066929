"""Making an artefact once: by all processes of a run in step, while other runs that share the store wait for it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from genuq.display import Display
from genuq.parallel import collectives
from genuq.store import artefact
from genuq.store.artefact import StageFolder
from genuq.store.disk import reporting_full_disk
from genuq.store.leases import Lease


@dataclass
class Making:
    """One process's part in making an artefact.

    Attributes:
        here: whether this process is to work on it.
        notes: for its manifest; those of the first process count.
    """

    here: bool
    notes: Mapping[str, Any] = field(default_factory=dict)


@contextlib.contextmanager
def make_once(
    folder: StageFolder,
    name: str,
    display: Display,
    shared: bool = False,
    thoroughly: bool = False,
    together: bool = False,
) -> Iterator[Making]:
    """Within it an artefact is made, unless it is there already; afterwards it is there.

    All processes of a run enter it alike, and none leaves it before the artefact is there. The first one decides for
    all whether it is, holds the lock against other runs, and writes the manifest.

    Args:
        folder: of the artefact.
        name: of the artefact, for the terminal.
        shared: whether all processes do the work together; else the first does it alone, and the others wait.
        thoroughly: whether every file of an artefact that was found is read through, or only those that seem changed.
        together: whether another run that comes by works along on its parts, each claimed by one; else it waits.

    Raises:
        ArtefactError: the artefact was found, and is broken.
        StorageError: the disk is full.
        ProcessError: another run took this one for dead.
    """
    first = collectives.is_first_process()
    missing = not collectives.agree(first and folder.is_current())
    lock = _entered(folder, name, display, together) if first and missing else contextlib.nullcontext()
    with reporting_full_disk(folder.path), lock as lease:
        missing = missing and not collectives.agree(first and folder.is_current())
        making, started = Making(missing and (first or shared)), time.perf_counter()
        if first and missing:
            folder.path.mkdir(parents=True, exist_ok=True)
        yield making
        seconds = time.perf_counter() - started
        if lease is not None and missing:
            _conclude(folder, lease, seconds, making.notes)
        if missing:
            collectives.wait_for_all()
    if first and missing:
        display.say(f"{name}: {seconds:.1f} s")
    elif first:
        folder.verify(thoroughly)
        display.say(f"{name}: already done, reused")


@contextlib.contextmanager
def _entered(folder: StageFolder, name: str, display: Display, together: bool) -> Iterator[Lease]:
    """The artefact's lock, held; not held where another run has it and this one works along."""

    def waiting() -> None:
        display.say(f"{name}: another run is making it; {'working along' if together else 'waiting'}")

    with folder.exclusively(waiting, patient=not together) as lease:
        yield lease


def _conclude(folder: StageFolder, lease: Lease, seconds: float, notes: Mapping[str, Any]) -> None:
    """Write the manifest; of a run that worked along only where the one that held the lock has died since."""
    held = bool(lease.number) or lease.wait(lambda: None, artefact.PATIENCE, until=folder.is_current)
    if held and not folder.is_current():
        lease.require()
        folder.complete(seconds, notes)
