"""Where the named sets come from: the first route that works, its content verified, kept in a cache.

Every route ends in a folder; the set's own reader finds its files there, in any layout it knows, and gives them out in
one canonical decompressed form. That form is hashed, so all routes give the same bytes, and is what the cache holds.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from genuq.errors import DataError
from genuq.files import write_bytes

log = logging.getLogger(__name__)


class AbsentError(DataError):
    """A route that has nothing to offer here, as opposed to one whose data is bad."""


@dataclass(frozen=True)
class Route:
    """One way to a folder with the set's files.

    Args:
        label: what messages call it.
        folder: given an empty scratch folder, the folder that holds the files; DataError says why there is none.
        downloads: it brings the whole set, so that the other split is cached as well.
        expected: the user named it, so that passing it over is worth a warning.
    """

    label: str
    folder: Callable[[Path], Path]
    downloads: bool = False
    expected: bool = False


@dataclass(frozen=True)
class Source:
    """A published set.

    Args:
        name: as in the configuration.
        digests: sha256 of each canonical file's decompressed content.
        read: (folder, canonical file) -> its content, from any layout of the set; AbsentError when it is not there.
        routes: ways beyond a given root and the cache, in order.
        remedy: what a user without any route can do.
    """

    name: str
    digests: Mapping[str, str]
    read: Callable[[Path, str], bytes]
    routes: Sequence[Route]
    remedy: str

    def verified(self, folder: Path, file: str) -> bytes:
        """The content of one canonical file, exactly as published.

        Raises:
            AbsentError: the file is not in the folder.
            DataError: it is damaged or altered.
        """
        content = self.read(folder, file)
        found = hashlib.sha256(content).hexdigest()
        if found != self.digests[file]:
            raise DataError(f"{file} in {folder} is corrupt: sha256 {found[:12]}, published {self.digests[file][:12]}")
        return content


def cache_folder() -> Path:
    """`$GENUQ_DATA`, else `genuq/data` in the user's cache folder."""
    if chosen := os.environ.get("GENUQ_DATA"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "genuq" / "data"


def obtain(source: Source, files: Sequence[str], root: str | Path | None = None) -> dict[str, bytes]:
    """The verified content of `files` by the first route that works, left in the cache for the next time.

    Raises:
        DataError: `root` is given and is no folder, or no route works; the message lists every route and its failure.
    """
    if root is not None and not os.path.isdir(Path(root).expanduser()):
        raise DataError(
            f"root {root} of {source.name} is not a folder. Correct data.root, or leave it out to fetch it."
        )
    failures = []
    for route in _all_routes(source, root):
        try:
            return _follow(route, source, files)
        except (DataError, OSError) as error:
            failures.append(f"{route.label}: {error}")
            _report(route, error)
    listed = "\n".join(f"  {number}. {failure}" for number, failure in enumerate(failures, 1))
    raise DataError(f"{source.name} was found on no route:\n{listed}\n{source.remedy}")


def _all_routes(source: Source, root: str | Path | None) -> Iterator[Route]:
    if root is not None:
        yield existing_folder("given root", Path(root).expanduser(), expected=True)
    yield existing_folder("cache", cache_folder() / source.name)
    yield from source.routes


def existing_folder(label: str, path: Path, expected: bool = False) -> Route:
    """A folder that is there already, or not."""

    def folder(scratch: Path) -> Path:
        if not os.path.isdir(path):
            raise AbsentError(f"{path} does not exist")
        return path

    return Route(f"{label} {path}", folder, expected=expected)


def _follow(route: Route, source: Source, files: Sequence[str]) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory(prefix="genuq-") as scratch:
        if route.downloads:
            log.info("Fetching %s: %s", source.name, route.label)
        folder = route.folder(Path(scratch))
        brought = list(source.digests) if route.downloads else files
        contents = {file: source.verified(folder, file) for file in brought}
    if folder != cache_folder() / source.name:
        _keep(source, contents)
    return {file: contents[file] for file in files}


def _keep(source: Source, contents: Mapping[str, bytes]) -> None:
    """Write the cache; a set that cannot be cached is still usable."""
    try:
        for file, content in contents.items():
            write_bytes(cache_folder() / source.name / file, content)
    except OSError as error:
        warnings.warn(
            f"{source.name} could not be cached ({error}); set GENUQ_DATA to a writable folder.", stacklevel=2
        )


def _report(route: Route, error: Exception) -> None:
    """Bad data, or a root that was asked for and not used, is worth a warning; an absent route is not."""
    if route.expected or not isinstance(error, AbsentError):
        warnings.warn(f"{route.label} is passed over: {error}. Trying the next route.", stacklevel=4)
    else:
        log.info("%s: %s", route.label, error)
