"""Making an artefact once: by all processes of a run in step, while other runs that share the store wait for it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from genuq.display import Display
from genuq.parallel import collectives
from genuq.store.artefact import StageFolder
from genuq.store.disk import reporting_full_disk

Work = Callable[[], Mapping[str, Any]]


def make_once(
    folder: StageFolder, work: Work, name: str, display: Display, shared: bool = False, thoroughly: bool = False
) -> bool:
    """Make an artefact unless it is there already; says whether it was made now.

    All processes of a run call it alike, and none returns before the artefact is there. The first one decides for all
    whether it is, holds the lock against other runs, and writes the manifest.

    Args:
        folder: of the artefact.
        work: writes its files and returns the notes for its manifest; those of the first process count.
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
    if missing:
        with folder.exclusively(waiting) if first else contextlib.nullcontext():
            missing = not collectives.agree(first and folder.is_current())
            if missing:
                if first:
                    _make(folder, work, name, display)
                elif shared:
                    work()
                collectives.wait_for_all()
    if first and not missing:
        folder.verify(thoroughly)
        display.say(f"{name}: already done, reused")
    return missing


def _make(folder: StageFolder, work: Work, name: str, display: Display) -> None:
    started = time.perf_counter()
    with reporting_full_disk(folder.path):
        folder.path.mkdir(parents=True, exist_ok=True)
        notes = work()
        seconds = time.perf_counter() - started
        folder.complete(seconds, notes)
    display.say(f"{name}: {seconds:.1f} s")
