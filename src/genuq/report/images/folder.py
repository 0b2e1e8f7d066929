"""The folder that scored images are reported in: it is known by its record, and nothing else in it is touched."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genuq import files
from genuq.errors import ArtefactError, ConfigurationError

RECORD, TABLE, PAGE, KEPT = "images.json", "scores.csv", "index.html", "kept"
RECORD_KEYS = {"made_from", "kept"}


@dataclass
class ReportFolder:
    """A folder with a record of what its files were made from, and of the images that are kept in it.

    Attributes:
        path: of the folder.
        made_from: what its files show, as plain data.
        kept: names of the images in `kept/`.
    """

    path: Path
    made_from: Mapping[str, Any]
    kept: list[str] = field(default_factory=list)

    @classmethod
    def claimed(cls, path: Path, source: Path, made_from: Mapping[str, Any]) -> ReportFolder:
        """A folder that may be written: it is not there, or empty, or shows the same already.

        Args:
            source: folder of the images, which is never changed.
            made_from: plain data.

        Raises:
            ConfigurationError: it lies in the images' folder, or that in it; or something else lies there.
        """
        require_apart(path, source)
        plain = files.plain(made_from)
        if not path.exists() or (path.is_dir() and not any(path.iterdir())):
            return cls(path, plain)
        if not (path / RECORD).is_file():
            raise ConfigurationError(f"--out {path}: something else is there. Give a folder that is new or empty.")
        record = files.read_json(path / RECORD)
        if not isinstance(record, dict) or record.keys() != RECORD_KEYS:
            raise ArtefactError(f"{path / RECORD} is no record of scored images. Give another --out.")
        if changed := differing(record["made_from"], plain):
            raise ConfigurationError(
                f"--out {path} holds scores made otherwise ({', '.join(changed)} differ), which are not overwritten. "
                "Give another --out, or delete it."
            )
        return cls(path, plain, list(record["kept"]))

    def write(self, texts: Mapping[str, str]) -> None:
        """Write text files, each whole or not at all."""
        self._record()
        for name, text in texts.items():
            files.write_text(self.path / name, text)

    def check_kept(self, source: Path) -> None:
        """Raise ConfigurationError for a file in `kept/` that is not as it was left there."""
        there = {path.relative_to(self.path / KEPT).as_posix() for path in _files_below(self.path / KEPT)}
        for name in sorted(there):
            if name not in self.kept or not _is_unchanged(self.path / KEPT / name, source / name):
                raise ConfigurationError(
                    f"{self.path / KEPT / name} is not as genuq images left it, and is not overwritten. Move it away, "
                    "or give another --out."
                )

    def keep(self, names: Sequence[str], source: Path, link: bool, progress: Callable[[int], None]) -> None:
        """Leave copies of these images, or links to them, in `kept/`, and none of those that were kept before.

        Args:
            names: below `source`.
            progress: called with the number of images just done.
        """
        before, self.kept = self.kept, sorted({*self.kept, *names})
        self._record()  # first: what a killed call has copied is its own when it is called again
        for name in sorted(set(before) - set(names)):
            (self.path / KEPT / name).unlink(missing_ok=True)
        for name in names:
            _placed(source / name, self.path / KEPT / name, link)
            progress(1)
        _remove_empty(self.path / KEPT)
        self.kept = sorted(names)
        self._record()

    def _record(self) -> None:
        files.write_json(self.path / RECORD, {"made_from": dict(self.made_from), "kept": self.kept})


def require_apart(path: Path, source: Path) -> None:
    """Raise ConfigurationError where one of the two folders lies in the other."""
    out, images = path.resolve(), source.resolve()
    if out == images or images in out.parents or out in images.parents:
        raise ConfigurationError(
            f"--out {path} and the images in {source} lie in each other, and the images' folder is never changed. "
            "Give an --out elsewhere."
        )


def differing(old: Any, new: Any, prefix: str = "") -> list[str]:
    """Dotted keys of what differs between two pieces of plain data."""
    if old == new:
        return []
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        return [prefix.removesuffix(".")]
    keys = dict.fromkeys([*old, *new])
    return [found for key in keys for found in differing(old.get(key), new.get(key), f"{prefix}{key}.")]


def _placed(source: Path, target: Path, link: bool) -> None:
    if target.is_symlink() == link and target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if link:
        target.unlink(missing_ok=True)
        target.symlink_to(source.resolve())
        return
    with files.replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def _is_unchanged(target: Path, source: Path) -> bool:
    """Whether a kept image is a link to its source, or has its bytes; of one whose source is gone nothing is known."""
    if target.is_symlink() or not source.is_file():
        return target.is_symlink()
    return files.sha256(target) == files.sha256(source)


def _files_below(folder: Path) -> list[Path]:
    found = (Path(place) / name for place, _, names in os.walk(folder) for name in names)
    return [path for path in found if not path.name.endswith(files.PARTIAL)]


def _remove_empty(folder: Path) -> None:
    for place, _, _ in os.walk(folder, topdown=False):
        if not os.listdir(place):
            os.rmdir(place)
