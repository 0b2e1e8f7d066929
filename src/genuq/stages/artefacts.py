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

import filelock
import torch

import genuq
from genuq import files
from genuq.errors import ArtefactError
from genuq.stages import runtime

MANIFEST, LOCKS = "manifest.json", "locks"
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
    def lock_path(self) -> Path:
        return self.path.parents[1] / LOCKS / f"{self.path.parent.name}-{self.path.name}.lock"

    def is_current(self) -> bool:
        """Whether the work was finished; its files are not read.

        Raises:
            ArtefactError: a manifest that is not whole, or of other work.
        """
        if not self.manifest_path.exists():
            return False
        if files.read_json(self.manifest_path).get("fingerprint") != self.fingerprint:
            raise ArtefactError(f"{self.manifest_path} was altered. {remedy(self.path)}")
        return True

    @contextlib.contextmanager
    def exclusively(self, waiting: Callable[[], None]) -> Iterator[None]:
        """Only one process at a time, of all that share the store; one that is killed lets go.

        Args:
            waiting: called at the start of the wait, and every minute of it.
        """
        self.lock_path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.lock_path)
        timeout = 0.0
        while True:
            try:
                lock.acquire(timeout=timeout)
                break
            except filelock.Timeout:
                waiting()
                timeout = PATIENCE
        try:
            yield
        finally:
            lock.release()

    def complete(self, seconds: float, notes: Mapping[str, Any]) -> None:
        """Write the manifest over all files of the folder."""
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
            "machine": runtime.machine(),
            "files": {name: files.sha256(path) for name, path in paths.items()},
            "stat": {name: files.stat_of(path) for name, path in paths.items()},
        }
        files.write_json(self.manifest_path, manifest)

    def manifest(self) -> dict[str, Any]:
        return files.read_json(self.manifest_path)

    def notes(self) -> dict[str, Any]:
        """What the stage wrote into its manifest beside the files."""
        return self.manifest()["notes"]

    def verify(self, thoroughly: bool = True) -> None:
        """Raise ArtefactError, which names it, for a missing or altered file."""
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
