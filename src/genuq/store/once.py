"""Making an artefact once: by all processes of a run in step, while other runs that share the store wait for it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from genuq.display import Display
from genuq.parallel import collectives
from genuq.store.artefact import StageFolder
from genuq.store.disk import reporting_full_disk


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
    folder: StageFolder, name: str, display: Display, shared: bool = False, thoroughly: bool = False
) -> Iterator[Making]:
    """Within it an artefact is made, unless it is there already; afterwards it is there.

    All processes of a run enter it alike, and none leaves it before the artefact is there. The first one decides for
    all whether it is, holds the lock against other runs, and writes the manifest.

    Args:
        folder: of the artefact.
        name: of the artefact, for the terminal.
        shared: whether all processes do the work together; else the first does it alone, and the others wait.
        thoroughly: whether every file of an artefact that was found is read through, or only those that seem changed.

    Raises:
        ArtefactError: the artefact was found, and is broken.
        StorageError: the disk is full.
    """
    first = collectives.is_first_process()

    def waiting() -> None:
        display.say(f"{name}: another run is making it; waiting")

    missing = not collectives.agree(first and folder.is_current())
    with folder.exclusively(waiting) if first and missing else contextlib.nullcontext():
        missing = missing and not collectives.agree(first and folder.is_current())
        making, started = Making(missing and (first or shared)), time.perf_counter()
        with reporting_full_disk(folder.path):
            if first and missing:
                folder.path.mkdir(parents=True, exist_ok=True)
            yield making
            seconds = time.perf_counter() - started
            if first and missing:
                folder.complete(seconds, making.notes)
        if missing:
            collectives.wait_for_all()
    if first and missing:
        display.say(f"{name}: {seconds:.1f} s")
    elif first:
        folder.verify(thoroughly)
        display.say(f"{name}: already done, reused")
