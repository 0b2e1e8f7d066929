"""The store as a whole: what lies in it, what still belongs to a run, what is broken."""

from __future__ import annotations

import os
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genuq import files
from genuq.errors import ArtefactError, ConfigurationError
from genuq.store.artefact import CONTENTS, JOBS, LOCKS, MANIFEST, NAME_LENGTH, StageFolder, brought, fingerprint, verify
from genuq.store.cached import REFERENCES
from genuq.store.records import RUNS, RunRecord, read_record
from genuq.store.remote import remote_of, store_folder

SMALL = "small"  # folder of what `pretrained.small` makes
OTHER = {LOCKS, JOBS, RUNS, CONTENTS, REFERENCES, SMALL}  # folders of the store that hold no artefacts


@dataclass(frozen=True)
class Stored:
    """An artefact as it lies in the store.

    Attributes:
        path: the folder.
        stage: that made it.
        bytes: of all its files.
        runs: names of the runs that it belongs to, `study/name`.
    """

    path: Path
    stage: str
    bytes: int
    runs: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.stage}/{self.path.name}"

    @property
    def is_finished(self) -> bool:
        return (self.path / MANIFEST).exists()

    def manifest(self) -> dict[str, Any]:
        """Raises ArtefactError where it is not whole, or where its content is not what its name says."""
        manifest = files.read_json(self.path / MANIFEST)
        try:
            found = fingerprint(manifest["made_from"])
            whole = found == manifest["fingerprint"] and found.startswith(self.path.name)
        except (KeyError, TypeError):
            whole = False
        if not whole:
            raise ArtefactError(f"{self.path / MANIFEST} was altered. Delete {self.path}; the next run makes it again.")
        return manifest


class Store:
    """The artefacts under one folder.

    Raises:
        ConfigurationError: there is no such folder.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = store_folder(root)
        self.remote = remote_of(self.root)
        if self.remote is not None:
            self.remote.look_through()
        if not os.path.isdir(self.root):
            raise ConfigurationError(f"--store {root}: there is no such folder. Give the path of a store.")

    def artefacts(self, without: Collection[Path] = ()) -> list[Stored]:
        """All artefacts, finished or not, by stage and name; `without` as in `owners`."""
        owners = self.owners(without)
        return [
            Stored(path, path.parent.name, self._bytes(path), tuple(sorted(owners[f"{path.parent.name}/{path.name}"])))
            for path in self.paths()
        ]

    def records(self) -> Iterator[tuple[Path, RunRecord]]:
        """All records of runs, with their files."""
        for path in sorted((self.root / RUNS).glob("*/*.json")):
            yield path, read_record(path)

    def owners(self, without: Collection[Path] = ()) -> dict[str, set[str]]:
        """By artefact, the runs that it belongs to: by their records, and as an input of what does.

        Args:
            without: files of records that do not count.
        """
        owners: dict[str, set[str]] = defaultdict(set)
        inputs = {path.name: _digests(_made_from(path)) for path in self.paths()}
        names = {path.name: f"{path.parent.name}/{path.name}" for path in self.paths()}

        def own(artefact: str, run: str) -> None:
            if artefact not in names or run in owners[names[artefact]]:
                return
            owners[names[artefact]].add(run)
            for digest in inputs[artefact]:
                own(digest[:NAME_LENGTH], run)

        for record in (record for path, record in self.records() if path not in without):
            for path in record.artefacts.values():
                own(Path(path).name, f"{record.study}/{record.name}")
        return owners

    def _bytes(self, path: Path) -> int:
        """Of all files of an artefact, be they here or in what the store mirrors."""
        if self.remote is None or not (path / MANIFEST).exists():
            return size_of(path)
        return sum(size for size, _ in files.read_json(path / MANIFEST)["stat"].values())

    def paths(self) -> list[Path]:
        """Folders of all artefacts, by stage and name."""
        stages = sorted(path for path in self.root.iterdir() if path.is_dir() and path.name not in OTHER)
        return [path for stage in stages for path in sorted(stage.iterdir()) if path.is_dir()]

    def find(self, name: str) -> Stored:
        """The artefact whose name, or the beginning of whose hash, is given.

        Raises:
            ConfigurationError: none, or several.
        """
        stage, _, digest = name.rpartition("/")
        found = [a for a in self.artefacts() if a.path.name.startswith(digest) and stage in ("", a.stage)]
        if len(found) != 1:
            candidates = ", ".join(a.name for a in found[:5]) or "genuq store list shows all"
            raise ConfigurationError(f"'{name}' names {len(found)} artefacts of {self.root}: {candidates}.")
        return found[0]

    def broken(self, progress: Callable[[str], None] = lambda name: None) -> list[str]:
        """What is missing or altered, a message each: every file of every artefact is read, and every record."""
        found = []
        for path in sorted((self.root / RUNS).glob("*/*.json")):
            try:
                read_record(path)
            except ArtefactError as error:
                found.append(str(error))
        for path in self.paths():  # not `artefacts`: a broken record must not hide a broken artefact
            artefact = Stored(path, path.parent.name, 0, ())
            progress(artefact.name)
            try:
                if artefact.is_finished:
                    brought(artefact.path)
                    verify(artefact.path, artefact.manifest())
            except ArtefactError as error:
                found.append(str(error))
        return found

    def abandoned_records(self) -> list[Path]:
        """Records of runs whose folders are gone, and were not found under another name.

        Of a store that mirrors another, none: the folders may be those of other machines.
        """
        if self.remote is not None:
            return []
        renamed = self.renamed()
        return [path for path, record in self.records() if not self._home(record).is_dir() and path not in renamed]

    def renamed(self) -> dict[Path, Path]:
        """By record of a run whose folder is gone, the folder that holds it after a renaming."""
        records = [] if self.remote is not None else list(self.records())
        homes = {self._home(record) for _, record in records}
        found = {path: self._found(record, homes) for path, record in records if not self._home(record).is_dir()}
        return {path: folder for path, folder in found.items() if folder is not None}

    def _home(self, record: RunRecord) -> Path:
        return Path(os.path.normpath(self.root / record.folder))

    def _found(self, record: RunRecord, homes: Collection[Path]) -> Path | None:
        """A folder with links to a run's artefacts that is no other run's, where one name on the way differs."""
        home = self._home(record)
        place = next(parent for parent in home.parents if parent.is_dir())
        below = home.relative_to(place).parts[1:]
        own = {(self.root / path).resolve() for path in record.artefacts.values()}
        for folder in (sibling.joinpath(*below) for sibling in sorted(place.iterdir())):
            links = folder.iterdir() if folder.is_dir() and folder not in homes else ()
            if any(link.is_symlink() and link.resolve() in own for link in links):
                return folder
        return None

    def unused(self, without: Collection[Path] = ()) -> list[Stored]:
        """Artefacts that belong to no run, unfinished ones among them; none that a process is making just now."""
        return [a for a in self.artefacts(without) if not a.runs and not self._is_locked(a)]

    def _is_locked(self, artefact: Stored) -> bool:
        return not StageFolder(artefact.path, {}).lease().looks_free()

    def remove(self, artefact: Stored) -> None:
        """The manifest first: what is left of an interrupted removal is unfinished, not broken."""
        if self.remote is not None:
            self.remote.delete(artefact.path)
        (artefact.path / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(artefact.path)
        folder = StageFolder(artefact.path, {})
        folder.lease().clear()
        folder.forget_claims()


def _made_from(folder: Path) -> Any:
    """What the manifest says that an artefact was made from; nothing where it has none, or a broken one."""
    try:
        return files.read_json(folder / MANIFEST).get("made_from")
    except (ArtefactError, AttributeError):
        return None


def _digests(content: Any) -> set[str]:
    """Every fingerprint within plain data."""
    if isinstance(content, dict):
        content = list(content.values())
    if isinstance(content, list):
        return set().union(*map(_digests, content))
    return {content} if isinstance(content, str) and re.fullmatch("[0-9a-f]{64}", content) else set()


def size_of(folder: Path) -> int:
    """Bytes of all files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
