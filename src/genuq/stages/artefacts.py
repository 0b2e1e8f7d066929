"""A stage's folder and its manifest: what was made, from what, and whether it is still whole.

The manifest is written last, so that a folder without one is unfinished. It carries a fingerprint of everything that
the result depends on: the stage's version, the part of the configuration that it reads, and its inputs' fingerprints.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import genuq
from genuq import files
from genuq.errors import ArtefactError

MANIFEST = "manifest.json"


def fingerprint(content: Mapping[str, Any]) -> str:
    """sha256 of plain data, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True)
class StageFolder:
    """Where one stage leaves its artefacts.

    Attributes:
        path: the folder.
        identity: plain data that the fingerprint is made of (stage, version, settings, inputs).
    """

    path: Path
    identity: Mapping[str, Any]

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.identity)

    @property
    def manifest_path(self) -> Path:
        return self.path / MANIFEST

    def state(self) -> str:
        """`complete`, `unfinished` (nothing, or begun under this fingerprint) or `outdated` (another fingerprint).

        Raises:
            ArtefactError: a complete folder with a missing or altered file; the message names it.
        """
        if self.is_current():
            self.verify(files.read_json(self.manifest_path))
            return "complete"
        if self.manifest_path.exists():
            return "outdated"
        begun = self.path / "begun.json"
        if begun.exists() and files.read_json(begun).get("fingerprint") != self.fingerprint:
            return "outdated"
        return "unfinished"

    def is_current(self) -> bool:
        """Whether the work was finished under this fingerprint; its files are not read."""
        manifest = files.read_json(self.manifest_path) if self.manifest_path.exists() else {}
        return manifest.get("fingerprint") == self.fingerprint

    def verify(self, manifest: Mapping[str, Any]) -> None:
        for name, digest in manifest["files"].items():
            file = self.path / name
            if not file.is_file():
                raise ArtefactError(f"{file} is missing. Delete {self.path} and run the same command again.")
            if files.sha256(file) != digest:
                raise ArtefactError(
                    f"{file} is truncated or was altered (its sha256 is not the one in {MANIFEST}). "
                    f"Delete {self.path} and run the same command again."
                )

    def begin(self) -> None:
        """Prepare the folder: empty an outdated one, keep what an interrupted run of the same work has left."""
        if self.state() == "outdated":
            shutil.rmtree(self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        files.write_json(self.path / "begun.json", {"fingerprint": self.fingerprint})

    def complete(self, seconds: float, notes: Mapping[str, Any]) -> None:
        """Write the manifest over all files of the folder."""
        (self.path / "begun.json").unlink(missing_ok=True)
        names = sorted(
            str(file.relative_to(self.path))
            for file in self.path.rglob("*")
            if file.is_file() and file.name != MANIFEST and not file.name.endswith(".partial")
        )
        manifest = {
            "fingerprint": self.fingerprint,
            "made_from": dict(self.identity),
            "seconds": round(seconds, 3),
            "notes": dict(notes),
            "versions": {
                "genuq": genuq.__version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
            "files": {name: files.sha256(self.path / name) for name in names},
        }
        files.write_json(self.manifest_path, manifest)

    def notes(self) -> dict[str, Any]:
        """What the stage wrote into its manifest beside the files."""
        return files.read_json(self.manifest_path)["notes"]
