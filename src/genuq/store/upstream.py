"""What an artefact is made from: files by their content, and other artefacts by their fingerprints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any

from genuq.identity import declared, neutral
from genuq.store.artefact import StageFolder


@dataclass(frozen=True)
class FileContent:
    """A file that a result depends on, by its content.

    Attributes:
        identity: its sha256, or the fingerprint of the artefact that it belongs to.
        path: where it lies.
    """

    identity: str
    path: Path = neutral()


@dataclass(frozen=True)
class Upstream:
    """The artefact of another stage, finished when it is read.

    Attributes:
        stage: its name.
        folder: its place in the store.
    """

    stage: str
    folder: StageFolder

    @property
    def identity(self) -> str:
        """Its fingerprint, which covers all that it was made from."""
        return self.folder.fingerprint

    @property
    def path(self) -> Path:
        """The folder with its files."""
        self.folder.bring()
        return self.folder.path

    def notes(self) -> dict[str, Any]:
        """What the stage wrote into its manifest beside the files."""
        return self.folder.notes()


def upstream_of(value: Any) -> Iterator[Upstream]:
    """Every artefact of another stage that a record reads, at any depth."""
    if isinstance(value, Upstream):
        yield value
    elif is_dataclass(value) and not isinstance(value, type):
        for part in declared(value):
            yield from upstream_of(getattr(value, part.name))
    elif isinstance(value, Mapping):
        for entry in value.values():
            yield from upstream_of(entry)
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from upstream_of(entry)
