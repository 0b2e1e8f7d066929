"""Files that many artefacts of a store hold, each made once: under the hash of what it depends on, in `references/`.

An artefact holds such a file under a name of its own, as a hard link where there are such. What no artefact holds any
more is forgotten by `genuq store prune`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from genuq import files
from genuq.errors import ArtefactError
from genuq.store.artefact import LOCKS, NAME_LENGTH, PATIENCE, fingerprint
from genuq.store.leases import Folder, Lease

REFERENCES = "references"  # in the store


def held(
    store: Path, identity: Mapping[str, Any], place: Path, make: Callable[[Path], None], waiting: Callable[[], None]
) -> None:
    """Put a file of the store at `place`; make it where no artefact has needed it before.

    Args:
        store: its folder.
        identity: plain data that the file depends on.
        place: within an artefact.
        make: writes the file to the path that it is given, whole or not at all.
        waiting: called while another process makes it.
    """
    name = fingerprint(identity)[:NAME_LENGTH]
    path = store / REFERENCES / f"{name}.safetensors"
    lease = Lease(Folder(store / LOCKS), f"{REFERENCES}-{name}")
    lease.wait(waiting, PATIENCE)
    try:
        if not is_whole(path):
            make(path)
            files.write_json(path.with_suffix(".json"), {"sha256": files.sha256(path), "made_from": identity})
    finally:
        lease.release()
    same_file(path, place)


def is_whole(path: Path) -> bool:
    """Whether a file is there, with the content that it was made with."""
    try:
        return path.is_file() and files.read_json(path.with_suffix(".json"))["sha256"] == files.sha256(path)
    except (ArtefactError, KeyError, TypeError):
        return False


def same_file(source: Path, target: Path) -> None:
    """The same file under a second name; a copy where the file system has no such names."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        with files.replacing(target) as temporary:
            shutil.copyfile(source, temporary)


def forget_unheld(store: Path) -> None:
    """Delete the files that no artefact holds as links; they are made again where they are needed."""
    for path in (store / REFERENCES).glob("*.safetensors"):
        if path.stat().st_nlink == 1:
            path.with_suffix(".json").unlink(missing_ok=True)
            path.unlink()
