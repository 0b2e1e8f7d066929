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
        kept: sha256 of the images in `kept/` by their names.
    """

    path: Path
    made_from: Mapping[str, Any]
    kept: dict[str, str] = field(default_factory=dict)

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
        return cls(path, plain, dict(record["kept"]))

    def write(self, texts: Mapping[str, str]) -> None:
        """Write text files, each whole or not at all."""
        self._record()
        for name, text in texts.items():
            files.write_text(self.path / name, text)

    def check_kept(self) -> None:
        """Raise ConfigurationError for a file in `kept/` that is not as it was left there."""
        for path in _files_below(self.path / KEPT):
            known = self.kept.get(path.relative_to(self.path / KEPT).as_posix())
            if known is None or not (path.is_symlink() or files.sha256(path) == known):
                raise ConfigurationError(
                    f"{path} is not as genuq images left it, and is not overwritten. Move it away, or give another "
                    "--out."
                )

    def keep(self, names: Sequence[str], source: Path, link: bool, progress: Callable[[int], None]) -> None:
        """Leave copies of these images, or links to them, in `kept/`, and none of those that were kept before.

        Args:
            names: below `source`.
            progress: called with the number of images just done.
        """
        before, wanted = self.kept, {name: files.sha256(source / name) for name in sorted(names)}
        self.kept = before | wanted
        self._record()  # first: what a killed call has copied is its own when it is called again
        for name in before.keys() - wanted.keys():
            (self.path / KEPT / name).unlink(missing_ok=True)
        for name, digest in wanted.items():
            _place(source / name, self.path / KEPT / name, link, digest)
            progress(1)
        _tidy(self.path / KEPT)
        self.kept = wanted
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


def _place(source: Path, target: Path, link: bool, digest: str) -> None:
    """A copy of an image, or a link to it, unless it is there."""
    if link and not target.is_symlink():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.symlink_to(source.resolve())
    elif not link and (target.is_symlink() or not target.exists() or files.sha256(target) != digest):
        with files.replacing(target) as temporary:
            shutil.copyfile(source, temporary)


def _files_below(folder: Path) -> list[Path]:
    found = (Path(place) / name for place, _, names in os.walk(folder) for name in names)
    return sorted(path for path in found if not path.name.endswith(files.PARTIAL))


def _tidy(folder: Path) -> None:
    """Without folders that hold nothing, and without what a killed call had begun to copy."""
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            if name.endswith(files.PARTIAL):
                (Path(place) / name).unlink()
        if not os.listdir(place):
            os.rmdir(place)
