"""An artefact: a folder in the store, named by the hash of everything that its content depends on.

The manifest is written last, so that a folder without one is unfinished. It carries what the hash was made of: the
stage, its version, the part of the configuration that it reads, and the fingerprints of its inputs.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import genuq
from genuq import files, machine
from genuq.errors import ArtefactError
from genuq.store.leases import Folder, Lease, Shelf
from genuq.store.remote import LOCKS as LOCKS
from genuq.store.remote import MANIFEST as MANIFEST
from genuq.store.remote import Objects, Remote, remote_of

JOBS = "jobs"  # in the store
CONTENTS = "contents"  # in the store: fingerprints of data sets on disk

NAME_LENGTH = 32  # hexadecimal digits of the fingerprint that name the folder
PATIENCE = 60.0  # seconds between two looks at an artefact that another process is making


def fingerprint(content: Mapping[str, Any]) -> str:
    """sha256 of plain data, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True)
class StageFolder:
    """Where one artefact lies, or will lie.

    Attributes:
        path: the folder.
        identity: plain data that the fingerprint is made of (stage, version, settings, inputs).
    """

    path: Path
    identity: Mapping[str, Any]

    @classmethod
    def in_store(cls, store: Path, identity: Mapping[str, Any]) -> StageFolder:
        return cls(store / identity["stage"] / fingerprint(identity)[:NAME_LENGTH], identity)

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint(self.identity)

    @property
    def manifest_path(self) -> Path:
        return self.path / MANIFEST

    @property
    def lock_name(self) -> str:
        return f"{self.path.parent.name}-{self.path.name}"

    @property
    def remote(self) -> Remote | None:
        """What the store mirrors; None where it is no more than a folder."""
        return remote_of(self.path.parents[1])

    def _shelf(self, place: str) -> Shelf:
        remote = self.remote
        return Folder(self.path.parents[1] / place) if remote is None else Objects(remote, place)

    def lease(self) -> Lease:
        """The lock on the whole artefact."""
        return Lease(self._shelf(LOCKS), self.lock_name)

    def claim(self, part: str) -> Lease:
        """The lock on one of its parts, which runs make side by side."""
        return Lease(self._claims, part)

    def has_claims(self) -> bool:
        """Whether a process has worked on its parts since it was last finished, be it alive or dead."""
        return bool(self._claims.names(""))

    @property
    def _claims(self) -> Shelf:
        return self._shelf(f"{LOCKS}/{self.lock_name}")

    def is_current(self) -> bool:
        """Whether the work was finished; its files are not read.

        Raises:
            ArtefactError: a manifest that is not whole, or of other work.
        """
        if not self.manifest_path.exists() and (remote := self.remote) is not None:
            remote.look_for(self.path)
        if not self.manifest_path.exists():
            return False
        if files.read_json(self.manifest_path).get("fingerprint") != self.fingerprint:
            raise ArtefactError(f"{self.manifest_path} was altered. {remedy(self.path)}")
        return True

    @contextlib.contextmanager
    def exclusively(self, waiting: Callable[[], None], patient: bool = True) -> Iterator[Lease]:
        """Only one process at a time, of all that share the store; one that is killed lets go (see `store.leases`).

        Args:
            waiting: called at the start of the wait, and every minute of it.
            patient: whether to wait; else the lease is not held where another process has it.
        """
        lease = self.lease()
        if patient:
            lease.wait(waiting, PATIENCE)
        elif not lease.attempt():
            waiting()
        try:
            yield lease
        finally:
            lease.release()

    def complete(self, seconds: float, notes: Mapping[str, Any]) -> None:
        """Write the manifest over all files of the folder."""
        import torch  # slow, and what only reads artefacts does without

        for unfinished in self.path.rglob(f".*{files.PARTIAL}"):  # of a process that was killed
            unfinished.unlink()
        paths = {
            str(file.relative_to(self.path)): file
            for file in sorted(self.path.rglob("*"))
            if file.is_file() and file.name != MANIFEST
        }
        manifest = {
            "fingerprint": self.fingerprint,
            "made_from": dict(self.identity),
            "seconds": round(seconds, 3),
            "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "notes": dict(notes),
            "versions": {
                "genuq": genuq.__version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
            "machine": machine.machine(),
            "files": {name: files.sha256(path) for name, path in paths.items()},
            "stat": {name: files.stat_of(path) for name, path in paths.items()},
        }
        if (remote := self.remote) is not None:
            remote.publish(self.path, manifest)
        files.write_json(self.manifest_path, manifest)
        self.forget_claims()

    def forget_claims(self) -> None:
        """Those of its parts, which are all there, or are to be made anew."""
        self._claims.clear()

    def manifest(self) -> dict[str, Any]:
        return files.read_json(self.manifest_path)

    def notes(self) -> dict[str, Any]:
        """What the stage wrote into its manifest beside the files."""
        return self.manifest()["notes"]

    def bring(self) -> None:
        """See that its files are here, where it is finished and the store mirrors another."""
        if (remote := self.remote) is not None:
            remote.bring(self.path)

    def exchange(self) -> None:
        """See that what is there of it, unfinished, is here and in what the store mirrors."""
        if (remote := self.remote) is not None:
            remote.exchange(self.path)

    def verify(self, thoroughly: bool = True) -> None:
        """Raise ArtefactError, which names it, for a missing or altered file."""
        self.bring()
        verify(self.path, self.manifest(), thoroughly)


def verify(folder: Path, manifest: Mapping[str, Any], thoroughly: bool = True) -> None:
    """Compare the files of an artefact with its manifest.

    Args:
        thoroughly: by their sha256; else only where size or time of change are not those of the manifest.

    Raises:
        ArtefactError: a missing or altered file, by its name.
    """
    for name, digest in manifest["files"].items():
        file = folder / name
        if not file.is_file():
            raise ArtefactError(f"{file} is missing. {remedy(folder)}")
        if not thoroughly and files.stat_of(file) == manifest["stat"][name]:
            continue
        if files.sha256(file) != digest:
            raise ArtefactError(
                f"{file} is truncated or was altered (its sha256 is not the one in {MANIFEST}). {remedy(folder)}"
            )


def remedy(folder: Path) -> str:
    return f"Delete {folder} and run the same command again."


def brought(folder: Path) -> Path:
    """The folder of an artefact, whose files are here if they are anywhere."""
    one = StageFolder(folder, {})
    if (remote := one.remote) is not None and not one.manifest_path.exists():
        remote.look_for(folder)
    one.bring()
    return folder
