"""Images with a caption each, as Hugging Face's `imagefolder` has them: a file of captions beside the images."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from genuq.data.folder import ANTIALIASED, ImageFolder, require_named
from genuq.errors import DataError

FILES = ("metadata.jsonl", "metadata.csv")
FILE, TEXTS = "file_name", ("text", "caption", "prompt")  # columns


class CaptionedFolder(ImageFolder):
    """The images that a file of captions names, in the order of their paths; the class of an image is its caption.

    Args:
        root, image_size, channels, split, resize: see ImageFolder.
        captions: text by path below `root`.
        class_names: all captions that labels may number, those of other splits too.

    Raises:
        DataError: a file that is named and not there, a wrong size or number of channels.
    """

    def __init__(
        self,
        root: str | Path,
        image_size: int,
        channels: int,
        split: str,
        captions: Mapping[str, str],
        class_names: Sequence[str],
        resize: str = ANTIALIASED,
    ) -> None:
        self._place(root, image_size, channels, split, resize)
        self.class_names = list(class_names)
        numbers = {name: number for number, name in enumerate(self.class_names)}
        paths = sorted(captions)
        self.files = [self.root / path for path in paths]
        require_named(self.files)
        lost = [path for path, file in zip(paths, self.files) if not file.is_file()]
        if lost:
            raise DataError(
                f"{len(lost)} images of the captions of {self.root} are not there, {lost[0]} for instance. Correct "
                f"{FILE} in {' or '.join(FILES)}, or bring them."
            )
        self.labels = torch.tensor([numbers[captions[path]] for path in paths])

    def content_digests(self, indices: Tensor) -> Iterable[bytes]:
        """Of the files as they are stored, and of their captions' numbers."""
        yield from super().content_digests(indices)
        yield hashlib.sha256(self.labels[indices].contiguous().numpy().data).digest()


def captions_of(folder: Path) -> dict[str, str] | None:
    """Text by path below the folder, from its file of captions; None: there is no such file.

    Raises:
        DataError: two such files, or one that cannot be read, lacks a column, has a row without a text or names a file
            outside the folder.
    """
    found = [folder / name for name in FILES if (folder / name).is_file()]
    if not found:
        return None
    if len(found) > 1:
        raise DataError(f"{folder} has both {' and '.join(FILES)}. Remove one.")
    captions: dict[str, str] = {}
    for number, row in enumerate(_rows(found[0]), 1):
        text = next((row[name] for name in TEXTS if row.get(name)), None)
        path = row.get(FILE)
        if not isinstance(path, str) or not isinstance(text, str):
            raise DataError(f"{found[0]}, row {number}: it needs {FILE} and a text, {' or '.join(TEXTS)}. Correct it.")
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise DataError(f"{found[0]}, row {number}: {path} lies outside the folder. Name files below it.")
        captions[Path(path).as_posix()] = text.strip()
    if not captions:
        raise DataError(f"{found[0]} has no rows. Write one an image, with {FILE} and {TEXTS[0]}.")
    return captions


def _rows(path: Path) -> Iterator[Mapping[str, object]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            if path.suffix == ".csv":
                yield from csv.DictReader(file)
                return
            for line in filter(str.strip, file):
                row = json.loads(line)
                yield row if isinstance(row, dict) else {}
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}). Write one JSON object a line, or a CSV.") from error
