"""A folder of images, whichever way it says what each of them shows: by class folders, or by captions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from genuq.data.base import check_split
from genuq.data.captioned import CaptionedFolder, captions_of
from genuq.data.folder import ANTIALIASED, ImageFolder, ImageSize, Resize, class_folders
from genuq.data.registry import DATASETS
from genuq.data.released import EVERY, PAPERS, ReleasedFolder
from genuq.errors import DataError
from genuq.parts.bounds import Limits, OneOf

SPLIT_FOLDERS = {"train": ("train",), "test": ("test", "val")}


@DATASETS.add(label="Image folder")
def image_folder(
    root: str | Path,
    image_size: ImageSize,
    channels: Annotated[int, OneOf(1, 3)] = 3,
    split: str | None = None,
    resize: Resize = ANTIALIASED,
    released: Annotated[str, OneOf(*PAPERS)] | None = None,
    released_every: Annotated[int, Limits(2, 1_000_000)] = EVERY,
) -> ImageFolder:
    """An ImageFolder, of one split where `root` has folders for them; a CaptionedFolder where captions lie in it.

    Args:
        root, image_size, channels, resize: see ImageFolder.
        split: None for the class folders directly in `root`; `train` for `root/train`, or for `root` itself where it is
            not split; `test` for `root/test` or `root/val`. Labels of the test images are those of the class folders
            in `root/train`, of which the test set may lack some; captions are numbered through all splits.
        released: read the training images as the code released with `bayesdiff` or `diff_uq` does, its faults included;
            see ReleasedFolder. None: all of them, as they should be.
        released_every: of `released`, the subset has one item for this many images.
    Raises:
        DataError: see ImageFolder; also when `root` has no such split, test images a class that `root/train` lacks, or
            captions stand beside `released`.
    """
    place = Path(root).expanduser()
    folder = place if split is None else split_folder(place, check_split(split))
    captions = captions_of(folder)
    dataset: ImageFolder
    if captions is not None and released is not None:
        raise DataError(
            f"data.released = '{released}' numbers and draws classes as the released code does, but {folder} has "
            "captions. Leave data.released out, or take the file of captions away."
        )
    if captions is not None:
        dataset = CaptionedFolder(folder, image_size, channels, split or "", captions, _all_captions(place), resize)
    elif released is not None and split != "test":
        return ReleasedFolder(folder, image_size, released, channels, split or "", released_every, Path(root).name)
    elif split is None:
        return ImageFolder(root, image_size, channels, resize=resize)
    else:
        trained = place / "train"
        names = class_folders(trained) if split == "test" and os.path.isdir(trained) else None
        dataset = ImageFolder(folder, image_size, channels, split, names, resize)
    dataset.name = Path(root).name
    return dataset


def _all_captions(root: Path) -> list[str]:
    """Of all splits, sorted, each once."""
    folders = [root, *(root / name for names in SPLIT_FOLDERS.values() for name in names)]
    return sorted({text for folder in folders for text in (captions_of(folder) or {}).values()})


def split_folder(root: Path, split: str) -> Path:
    """The folder of a split.

    Raises:
        DataError: there is none.
    """
    for name in SPLIT_FOLDERS[split]:
        if os.path.isdir(root / name):
            return root / name
    divided = any(os.path.isdir(root / name) for names in SPLIT_FOLDERS.values() for name in names)
    if split == "train" and not divided:
        return root
    expected = " or ".join(SPLIT_FOLDERS[split])
    raise DataError(
        f"{root} has no folder for the {split} split. Make {expected} in it, with the class folders inside."
    )
