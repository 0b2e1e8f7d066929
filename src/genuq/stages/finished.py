"""Which jobs of a sweep are finished, known without composing their configurations: a stamp a job.

A stamp is valid as long as the program, its configuration files, the job's overrides, the files that it read and all
of its artefacts are what they were. Without a valid stamp a job runs as ever, and reuses what the store holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser

import genuq
from genuq import files
from genuq.errors import ArtefactError
from genuq.stages.overrides import config_directory

JOBS = "jobs"  # in the store


@cache
def program() -> str:
    """Digest of genuq's own files and of its configuration."""
    package, digest = Path(genuq.__file__).parent, hashlib.sha256()
    for root, pattern in ((package, "*.py"), (config_directory(), "*.yaml")):
        digest.update(_content(root, pattern))
    return digest.hexdigest()


def _content(root: Path, pattern: str) -> bytes:
    """Of all files below a folder whose names match."""
    paths = sorted(root.rglob(pattern))
    return b"".join(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0" for path in paths)


def stamp_path(store: Path, sweep: Path, overrides: Sequence[str], options: Sequence[Path] = ()) -> Path:
    """Where the stamp of a job lies.

    Args:
        store: that it lies in.
        sweep: folder of the sweep that the job belongs to.
        overrides: of the job, however they were written.
        options: folders of the user's own option files, whose content counts and not their place.
    """
    parsed = OverridesParser.create().parse_overrides(overrides=list(overrides))
    plain = sorted(f"{override.get_key_element()}={override.get_value_element_as_str()}" for override in parsed)
    own = [hashlib.sha256(_content(folder, "*.yaml")).hexdigest() for folder in options]
    key = "\n".join([program(), str(sweep.absolute()), *plain, *own])
    return store / JOBS / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"


def write_stamp(path: Path, store: Path, links: Mapping[Path, Path], read: Mapping[str, list[int | str]]) -> None:
    """Write the stamp of a job that ended well.

    Args:
        links: in the run's folder, with the artefact that each points to; all that the job asked for.
        read: state (`files.state_of`) of every file and folder outside the store that the artefacts depend on.
    """
    pairs = {str(link.absolute()): str(artefact.relative_to(store)) for link, artefact in links.items()}
    files.write_json(path, {"links": pairs, "read": dict(read)})


def is_finished(path: Path, store: Path, state: Callable[[str], list[int | str]] = files.state_of) -> bool:
    """Whether the job of this stamp ended well and all that it made and read is still there, by size and change.

    Args:
        state: looks at a file or folder; one that remembers spares many jobs on the same large folder many looks.
    """
    if not path.exists():
        return False
    try:
        known = files.read_json(path)
        unchanged = all(state(name) == stat for name, stat in known["read"].items())
        return unchanged and all(_points_to(Path(link), store / name) for link, name in known["links"].items())
    except (OSError, ArtefactError):
        return False


def _points_to(link: Path, artefact: Path) -> bool:
    """Whether a link leads to an artefact whose files are as its manifest has them."""
    manifest = files.read_json(link / "manifest.json")
    same = link.resolve() == artefact.resolve()
    return same and all(files.stat_of(artefact / name) == stat for name, stat in manifest["stat"].items())
