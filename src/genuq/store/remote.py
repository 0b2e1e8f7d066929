"""A store in an object store, `s3://bucket/prefix` or `gs://bucket/prefix`: a local folder whose finished parts are
mirrored.

The folder is a cache: `$GENUQ_CACHE` (else `~/.cache/genuq/stores`) / protocol / bucket / prefix. An artefact is looked
for there, then in the object store, by its manifest; its files are fetched when they are first needed, and compared
with the manifest's sha256. What is made is written up file by file, the manifest last, so that a folder without one is
unfinished there as well; shards of samples are written up as they are made. Locks are leases (`store.leases`) whose
notes are objects, put on the condition that there is none.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from genuq import files
from genuq.errors import ArtefactError, ConfigurationError, StorageError

PROTOCOLS = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}  # whose puts can be conditional, with the package for each
WHERE = "remote.json"  # in a cache folder: what it mirrors
INDEX = "records.json"  # in a cache folder: the state of every record that was fetched
MANIFEST = "manifest.json"
LOCKS = "locks"
T = TypeVar("T")


def store_folder(text: str | Path) -> Path:
    """The folder of a store that is named by a path or a URL.

    Raises:
        ConfigurationError: a URL of a kind that cannot be had, or whose package is not installed.
    """
    if (url := url_of(text)) is None:
        return Path(text).expanduser().absolute()
    protocol, _, place = url.partition("://")
    if protocol not in PROTOCOLS:
        raise ConfigurationError(
            f"store = {url}: stores can be a folder, or {', '.join(f'{known}://bucket/prefix' for known in PROTOCOLS)}."
        )
    if not place or not all(re.fullmatch(r"[\w.=+@-]+", part) and set(part) != {"."} for part in place.split("/")):
        raise ConfigurationError(f"store = {url}: give a bucket and a prefix of plain names, {protocol}://bucket/name.")
    if find_spec(PROTOCOLS[protocol]) is None:
        raise ConfigurationError(f"store = {url} needs {PROTOCOLS[protocol]}: pip install 'genuq[remote]'")
    caches = Path(os.environ.get("GENUQ_CACHE") or Path.home() / ".cache" / "genuq" / "stores")
    folder = caches.expanduser().absolute() / protocol / place
    if not (folder / WHERE).exists():
        files.write_json(folder / WHERE, {"url": url})
    return folder


def url_of(text: str | Path) -> str | None:
    """Of a store that is no folder; argparse and Hydra may have made a path of it, which has one slash."""
    match = re.fullmatch(r"([a-z][a-z0-9+.]+):/{1,2}(.*)", str(text), flags=re.DOTALL)
    return None if match is None else f"{match[1]}://{match[2].strip('/')}"


def remote_of(root: Path) -> Remote | None:
    """What the store of this folder mirrors; None where it is no more than a folder."""
    try:
        text = (root / WHERE).read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # no folder can have this name, which the check of the store tells
            return None
        raise
    return _remote(root, text)


@cache
def _remote(root: Path, text: str) -> Remote:
    return Remote(root, files.read_json(root / WHERE)["url"])


@dataclass(frozen=True)
class Objects:
    """Notes of leases as objects; see `leases.Shelf`."""

    remote: Remote
    place: str

    def create(self, name: str, content: bytes) -> bool:
        try:
            self.remote.asked(lambda: self.remote.put(f"{self.place}/{name}", content, new=True))
        except FileExistsError:
            return False
        return True

    def write(self, name: str, content: bytes) -> None:
        self.remote.put(f"{self.place}/{name}", content)

    def read(self, name: str) -> bytes | None:
        return self.remote.read(f"{self.place}/{name}")

    def names(self, beginning: str) -> list[str]:
        return [name for name in self.remote.listed(self.place) if name.startswith(beginning) and "/" not in name]

    def remove(self, name: str) -> None:
        self.remote.remove(f"{self.place}/{name}")

    def clear(self) -> None:
        self.remote.clear(self.place)


class Remote:
    """An object store and the folder that mirrors it.

    Args:
        root: the folder.
        url: of the object store, `s3://bucket/prefix`.
    """

    def __init__(self, root: Path, url: str) -> None:
        self.root, self.url = root, url
        self.whole: set[Path] = set()  # artefacts whose files are all here, as far as this process has looked

    @property
    def system(self) -> Any:
        """fsspec's file system, with no memory of what it saw before."""
        import fsspec  # slow to import, and of such stores alone

        return fsspec.filesystem(self.url.partition("://")[0], use_listings_cache=False)

    def asked(self, ask: Callable[[], T]) -> T:
        """An answer, or StorageError where none came; that something is there, or is not, is an answer."""
        try:
            return ask()
        except (FileNotFoundError, FileExistsError, StorageError):
            raise
        except Exception as error:  # whatever the service's own library raises
            raise StorageError(
                f"store = {self.url} did not answer ({type(error).__name__}: {error}). Nothing that was made is lost: "
                "check the connection and the credentials, and run the same command again."
            ) from error

    def check(self) -> None:
        """Raise StorageError where the store cannot be written, or writes over what must not be there."""
        name = f"{LOCKS}/.trial-{uuid.uuid4().hex}"
        self.asked(lambda: self.put(name, b"1", new=True))
        try:
            self.put(name, b"2", new=True)
        except FileExistsError:
            return
        finally:
            self.remove(name)
        raise StorageError(
            f"store = {self.url}: this service writes over an object that a conditional put was to spare, so that "
            "locks would not hold. Choose another, or a folder (store=PATH)."
        )

    def at(self, name: str) -> str:
        return f"{self.url}/{name}"

    def put(self, name: str, content: bytes, new: bool = False) -> None:
        """Write an object; FileExistsError where it is to be new and is not."""
        self.system.pipe_file(self.at(name), content, mode="create" if new else "overwrite")

    def read(self, name: str) -> bytes | None:
        try:
            return self.asked(lambda: self.system.cat_file(self.at(name)))
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.asked(lambda: self.system.rm_file(self.at(name)))

    def listed(self, place: str) -> dict[str, str]:
        """Objects below a name, by their names from there on, each with what changes when it is written anew."""
        try:
            found = self.asked(lambda: self.system.find(self.at(place), detail=True))
        except FileNotFoundError:
            return {}
        start = len(self.system._strip_protocol(self.at(place))) + 1
        kept = ("size", "ETag", "etag", "generation", "created")
        return {path[start:]: str([entry.get(key) for key in kept]) for path, entry in found.items()}

    # Files

    def name_of(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def send(self, path: Path) -> None:
        """Write a file up."""
        self.asked(lambda: self.system.put_file(str(path), self.at(self.name_of(path))))

    def fetch(self, path: Path, digest: str | None = None) -> None:
        """Bring a file, whole or not at all.

        Args:
            digest: its sha256, where that is known.

        Raises:
            ArtefactError: it is not there, or is another.
        """
        name = self.name_of(path)
        with files.replacing(path) as temporary:
            try:
                self.asked(lambda: self.system.get_file(self.at(name), str(temporary)))
            except FileNotFoundError as error:
                raise ArtefactError(f"{self.at(name)} is missing. {self._remedy(path)}") from error
            if digest is not None and files.sha256(temporary) != digest:
                raise ArtefactError(
                    f"{self.at(name)} was altered (its sha256 is not the one in {MANIFEST}). {self._remedy(path)}"
                )

    def _remedy(self, path: Path) -> str:
        artefact = "/".join(self.name_of(path).split("/")[:2])
        return f"Delete {self.at(artefact)} and {self.root / artefact}, and run the same command again."

    # Artefacts

    def look_for(self, folder: Path) -> None:
        """Bring the manifest of an artefact, if there is one."""
        content = self.read(self.name_of(folder / MANIFEST))
        if content is not None:
            files.write_bytes(folder / MANIFEST, content)

    def bring(self, folder: Path) -> None:
        """Bring what a finished artefact lacks here; nothing for one that is not finished.

        Raises:
            ArtefactError: a file that is not there, or is not the manifest's.
        """
        if folder in self.whole or not (folder / MANIFEST).exists():
            return
        manifest = files.read_json(folder / MANIFEST)
        changed = {}
        for name, digest in manifest["files"].items():
            if not (folder / name).exists():
                self.fetch(folder / name, digest)
                changed[name] = files.stat_of(folder / name)
        if changed:
            files.write_json(folder / MANIFEST, manifest | {"stat": manifest["stat"] | changed})
        self.whole.add(folder)

    def publish(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        """Write up an artefact that is finished here, its manifest last."""
        for name in manifest["files"]:
            self.send(folder / name)
        self.put(self.name_of(folder / MANIFEST), files.as_json(manifest).encode())
        self.whole.add(folder)

    def exchange(self, folder: Path) -> None:
        """Write up the parts of an unfinished artefact that are only here, and bring those that are only there."""
        there = set(self.listed(self.name_of(folder))) - {MANIFEST}
        here = {
            path.relative_to(folder).as_posix()
            for path in folder.rglob("*")
            if path.is_file() and not path.name.endswith(files.PARTIAL) and path.name != MANIFEST
        }
        for name in in_order(here - there):
            self.send(folder / name)
        for name in in_order(there - here):
            self.fetch(folder / name)

    def delete(self, folder: Path) -> None:
        """Take an artefact away, its manifest first."""
        self.remove(self.name_of(folder / MANIFEST))
        self.clear(self.name_of(folder))
        self.whole.discard(folder)

    def clear(self, place: str) -> None:
        """Take away all objects below a name."""
        if names := [self.at(f"{place}/{name}") for name in self.listed(place)]:
            self.asked(lambda: self.system.rm(names))

    # What commands look through

    def look_through(self) -> None:
        """Bring all records and all manifests, and make the folders of unfinished artefacts."""
        self.bring_records()
        artefacts = {tuple(name.split("/")[:2]) for name in self.listed("") if len(name.split("/")) > 2}
        for stage, name in sorted(artefacts):
            folder = self.root / stage / name
            if stage not in (LOCKS, "runs") and not (folder / MANIFEST).exists():
                folder.mkdir(parents=True, exist_ok=True)
                self.look_for(folder)

    def bring_records(self) -> None:
        """Bring the records of runs that are new or changed there, and forget those that are gone there."""
        runs, index = self.root / "runs", self.root / INDEX
        known = files.read_json(index) if index.exists() else {}
        there = self.listed("runs")
        for name, state in there.items():
            if known.get(name) != state or not (runs / name).exists():
                self.fetch(runs / name)
                written = self.asked(lambda name=name: self.system.modified(self.at(f"runs/{name}")))  # type: ignore[misc]
                os.utime(runs / name, (written.timestamp(), written.timestamp()))  # of two of one run the last counts
        for name in known.keys() - there.keys():
            (runs / name).unlink(missing_ok=True)
        files.write_json(index, there)


def in_order(names: set[str]) -> list[str]:
    """What a shard comes with before the shard, which says that it is finished."""
    return sorted(names, key=lambda name: (name.startswith("shard-"), name))
