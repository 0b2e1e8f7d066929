"""Images in class sub-folders (ImageNet's layout), decoded when asked for."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as transforms

from genuq.data.base import Dataset, Indices, check_split, to_signed
from genuq.data.registry import DATASETS
from genuq.errors import DataError
from genuq.parts.bounds import Limits, OneOf

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff"}
MODES = {1: "L", 3: "RGB"}  # PIL's names by number of channels
DEEP_MODES = {"F", "I", "I;16", "I;16B", "I;16L"}  # more than 8 bits: PIL would clip them without a word
SPLIT_FOLDERS = {"train": ("train",), "test": ("test", "val")}
ImageSize = Annotated[int, Limits(1, 16_384)]  # pixels of a side
NAMED_FILES = 5  # how many damaged files an error names


class ImageFolder(Dataset):
    """The images below `root`, one class per sub-folder, classes and files in sorted order.

    Each image is resized (antialiased bicubic) until its shorter side is `image_size`, then cropped at the centre.

    Args:
        root: folder of the class folders. Hidden folders, and files without an image's suffix, are passed over.
        image_size: side of the square images in pixels.
        channels: 3 for RGB, 1 for greyscale.
        split: for tables and for the fingerprint.
    Raises:
        DataError: no such folder, no class sub-folders, a class without images, or a wrong size or number of channels.
    """

    def __init__(self, root: str | Path, image_size: int, channels: int = 3, split: str = "") -> None:
        if channels not in MODES:
            raise DataError(f"channels is {channels}; an image folder gives 1 (greyscale) or 3 (RGB).")
        if not isinstance(image_size, int) or image_size < 1:
            raise DataError(f"image_size is {image_size!r}; it must be a whole number of pixels, at least 1.")
        self.root, self.name, self.split = Path(root).expanduser(), Path(root).name, split
        self.folder = self.root
        self.shape = (channels, image_size, image_size)
        self.class_names = _class_names(self.root)
        files = [_image_files(self.root / name) for name in self.class_names]
        self.files = [file for of_class in files for file in of_class]
        _require_named(self.files)
        self.labels = torch.repeat_interleave(torch.tensor([len(of_class) for of_class in files]))

    def batch(self, indices: Indices) -> tuple[Tensor, Tensor]:
        chosen = torch.as_tensor(indices, dtype=torch.long)
        images = [self.image(self.files[index]) for index in chosen.tolist()]
        return to_signed(torch.stack(images)), self.labels[chosen]

    def image(self, file: Path) -> Tensor:
        """One image, uint8 (C, image_size, image_size).

        Raises:
            DataError: the file is damaged, or has more than 8 bits per channel.
        """
        channels, size, _ = self.shape
        with opened_image(file) as image:
            return transforms.pil_to_tensor(_shrink_and_crop(image.convert(MODES[channels]), size))

    def content_digests(self, indices: Tensor) -> Iterable[bytes]:
        """Of the files as they are stored, so that a fingerprint costs one read of each, not a decoding."""
        for file in (self.files[index] for index in indices.tolist()):
            yield file.relative_to(self.root).as_posix().encode()
            yield hashlib.sha256(file.read_bytes()).digest()

    def verify(self, indices: Indices | None = None) -> None:
        """Read every file to its end before long work.

        Raises:
            DataError: with the names of the first damaged files and the number of all.
        """
        files = self.files if indices is None else [self.files[index] for index in torch.as_tensor(indices).tolist()]
        with ThreadPoolExecutor() as pool:
            damaged = [complaint for complaint in pool.map(_complaint, files) if complaint]
        if damaged:
            shown = "\n  ".join(damaged[:NAMED_FILES])
            raise DataError(f"{len(damaged)} of {len(files)} images in {self.root} cannot be used:\n  {shown}")


@DATASETS.add(label="Image folder")
def image_folder(
    root: str | Path, image_size: ImageSize, channels: Annotated[int, OneOf(1, 3)] = 3, split: str | None = None
) -> ImageFolder:
    """An ImageFolder, of one split where `root` has folders for them.

    Args:
        root, image_size, channels: see ImageFolder.
        split: None for the class folders directly in `root`; `train` for `root/train`, or for `root` itself where it is
            not split; `test` for `root/test` or `root/val`.
    Raises:
        DataError: see ImageFolder; also when `root` has no such split.
    """
    if split is None:
        return ImageFolder(root, image_size, channels)
    dataset = ImageFolder(_split_folder(Path(root).expanduser(), check_split(split)), image_size, channels, split)
    dataset.name = Path(root).name
    return dataset


def _split_folder(root: Path, split: str) -> Path:
    for name in SPLIT_FOLDERS[split]:
        if (root / name).is_dir():
            return root / name
    divided = any((root / name).is_dir() for names in SPLIT_FOLDERS.values() for name in names)
    if split == "train" and not divided:
        return root
    expected = " or ".join(SPLIT_FOLDERS[split])
    raise DataError(
        f"{root} has no folder for the {split} split. Make {expected} in it, with the class folders inside."
    )


def _class_names(root: Path) -> list[str]:
    if not root.is_dir():
        raise DataError(f"image folder {root} does not exist. Correct data.root.")
    entries = sorted(entry.name for entry in root.iterdir() if not entry.name.startswith("."))
    if not entries:
        raise DataError(f"image folder {root} is empty. It needs one sub-folder of images per class.")
    classes = [name for name in entries if (root / name).is_dir()]
    if not classes:
        raise DataError(f"image folder {root} has {len(entries)} files but no class sub-folders. Use root/class/image.")
    return classes


def _image_files(folder: Path) -> list[Path]:
    """Sorted image files at any depth."""
    found = (Path(place) / file for place, _, files in os.walk(folder, followlinks=True) for file in files)
    images = sorted(file for file in found if file.suffix.lower() in SUFFIXES and not file.name.startswith("."))
    if not images:
        raise DataError(f"class folder {folder} has no images ({', '.join(sorted(SUFFIXES))}). Fill or remove it.")
    return images


def _require_named(files: list[Path]) -> None:
    """Raise DataError for names that are no text: reports and fingerprints are text."""
    for file in files:
        try:
            str(file).encode()
        except UnicodeEncodeError as error:
            shown = os.fsencode(file).decode(errors="backslashreplace")
            raise DataError(f"the name of image {shown} is not UTF-8. Rename it.") from error


def _shrink_and_crop(image: Image.Image, size: int) -> Image.Image:
    resized = transforms.resize(image, [size], InterpolationMode.BICUBIC, antialias=True)
    return transforms.center_crop(resized, [size])


def _complaint(file: Path) -> str:
    """What is wrong with an image file, or an empty string."""
    try:
        with opened_image(file) as image:
            # a JPEG at an eighth of its size: the whole stream is read, at a fraction of the cost
            image.draft("L", (1, 1))
            image.load()
    except DataError as error:
        return str(error)
    return ""


@contextlib.contextmanager
def opened_image(file: Path) -> Iterator[Image.Image]:
    """An open image; whatever PIL raises on a damaged file, also while it is used, becomes a DataError."""
    try:
        with Image.open(file) as image:
            if image.mode in DEEP_MODES:
                raise DataError(f"{file} has more than 8 bits per channel ({image.mode}). Convert it to 8 bits.")
            yield image
    except DataError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{file} is damaged or no image ({error}). Replace it.") from error
