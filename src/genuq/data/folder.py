"""Images in class sub-folders (ImageNet's layout), decoded when asked for."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import torch
from PIL import Image
from torch import Tensor

from genuq.data.base import Dataset, Indices, to_signed
from genuq.errors import DataError
from genuq.parts.bounds import Limits, OneOf

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff"}
MODES = {1: "L", 3: "RGB"}  # PIL's names by number of channels
DEEP_MODES = {"F", "I", "I;16", "I;16B", "I;16L"}  # more than 8 bits: PIL would clip them without a word
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "PPM", "TIFF")  # not PostScript, which PIL hands to another program
# Colour files that PIL reads as 8 bits: `RGB;16B`, `CMYK;16L`; a BMP's `BGR;16` has 16 bits for all three.
DEEP_LAYOUTS = re.compile(r"(?!BGR;)\w+;(12|16|32)")
ImageSize = Annotated[int, Limits(1, 16_384)]  # pixels of a side
ANTIALIASED, ADM, CROP = "antialiased", "adm", "crop"  # ways to make squares
Resize = Annotated[str, OneOf(ANTIALIASED, ADM)]
NAMED_FILES = 5  # how many damaged files an error names
NAMED_CLASSES = 8  # and how many classes


class ImageFolder(Dataset):
    """The images below `root`, one class per sub-folder, classes and files in sorted order.

    Each image is resized until its shorter side is `image_size`, then cropped at the centre. Pixels are taken as
    they are stored: an EXIF orientation turns nothing, as with torchvision, timm and clean-fid, so that features
    and statistics made by those agree. Turn the files themselves where it should.

    Args:
        root: folder of the class folders. Hidden folders and files, at any depth, and files without an image's suffix
            are passed over.
        image_size: side of the square images in pixels.
        channels: 3 for RGB, 1 for greyscale.
        split: for tables and for the fingerprint.
        class_names: that labels index, where they are known from elsewhere; folders may lack some of them. None: the
            names of the class folders.
        resize: `antialiased` bicubic in one step, or `adm`: as guided-diffusion prepares ImageNet, halved first while
            the shorter side is at least twice `image_size`.
    Raises:
        DataError: no such folder, no class sub-folders, a class without images or of another name, or a wrong size or
            number of channels.
    """

    def __init__(
        self,
        root: str | Path,
        image_size: int,
        channels: int = 3,
        split: str = "",
        class_names: Sequence[str] | None = None,
        resize: str = ANTIALIASED,
    ) -> None:
        self._place(root, image_size, channels, split, resize)
        found = class_folders(self.root)
        self.class_names = found if class_names is None else list(class_names)
        require_known(found, self.class_names, self.root)
        files = [_image_files(self.root / name) if name in found else [] for name in self.class_names]
        self.files = [file for of_class in files for file in of_class]
        require_named(self.files)
        self.labels = torch.repeat_interleave(torch.tensor([len(of_class) for of_class in files]))

    def _place(self, root: str | Path, image_size: int, channels: int, split: str, resize: str) -> None:
        if channels not in MODES:
            raise DataError(f"channels is {channels}; an image folder gives 1 (greyscale) or 3 (RGB).")
        if not isinstance(image_size, int) or image_size < 1:
            raise DataError(f"image_size is {image_size!r}; it must be a whole number of pixels, at least 1.")
        if resize not in SQUARED:
            raise DataError(f"resize is '{resize}'; an image folder has {', '.join(SQUARED)}.")
        self.resize = resize
        self.root, self.name, self.split = Path(root).expanduser(), Path(root).name, split
        self.folder = self.root
        self.shape = (channels, image_size, image_size)

    def batch(self, indices: Indices) -> tuple[Tensor, Tensor]:
        chosen = torch.as_tensor(indices, dtype=torch.long)
        images = [self.image(self.files[index]) for index in chosen.tolist()]
        return to_signed(torch.stack(images)), self.labels[chosen]

    def image(self, file: Path) -> Tensor:
        """One image, uint8 (C, image_size, image_size).

        Raises:
            DataError: the file is damaged, or has more than 8 bits per channel.
        """
        from torchvision.transforms.functional import pil_to_tensor  # slow to import

        channels, size, _ = self.shape
        with opened_image(file) as image:
            return pil_to_tensor(SQUARED[self.resize](image.convert(MODES[channels]), size))

    def content_digests(self, indices: Tensor) -> Iterable[bytes]:
        """Of the files as they are stored, so that a fingerprint costs one read of each, not a decoding."""
        if self.resize != ANTIALIASED:
            yield self.resize.encode()
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
        require_usable(damaged, len(files), self.root)


def require_usable(complaints: Sequence[str], count: int, root: Path) -> None:
    """Raise DataError where there are complaints of some of `count` files, with the first of them."""
    if complaints:
        shown = "\n  ".join(complaints[:NAMED_FILES])
        raise DataError(f"{len(complaints)} of {count} images in {root} cannot be used:\n  {shown}")


def require_known(found: Sequence[str], known: Sequence[str], root: Path) -> None:
    """Raise DataError for class folders that are none of the known classes: their labels would be others."""
    strange = [name for name in found if name not in known]
    if strange:
        raise DataError(
            f"{root} has class folders that the training set lacks: {shortened(strange)}; it has {shortened(known)}. "
            "Name the folders of a class alike in both."
        )


def shortened(names: Sequence[str]) -> str:
    """The first names of a long list."""
    return ", ".join(names[:NAMED_CLASSES]) + (", ..." if len(names) > NAMED_CLASSES else "")


def class_folders(root: Path) -> list[str]:
    """Names of the class folders, sorted; raises DataError where there are none."""
    if not os.path.isdir(root):
        raise DataError(f"image folder {root} does not exist. Correct data.root, or bring the images.")
    entries = sorted(entry.name for entry in root.iterdir() if not entry.name.startswith("."))
    if not entries:
        raise DataError(f"image folder {root} is empty. It needs one sub-folder of images per class.")
    classes = [name for name in entries if (root / name).is_dir()]
    if not classes:
        raise DataError(
            f"image folder {root} has {len(entries)} files but no class sub-folders. Use root/class/image, "
            "one sub-folder of any name where the model knows no classes."
        )
    return classes


def _image_files(folder: Path) -> list[Path]:
    """Sorted image files at any depth, but for hidden ones and those in hidden folders."""
    images = sorted(file for file in visible_files(folder) if file.suffix.lower() in SUFFIXES)
    if not images:
        raise DataError(f"class folder {folder} has no images ({', '.join(sorted(SUFFIXES))}). Fill or remove it.")
    return images


def visible_files(folder: Path) -> Iterator[Path]:
    """Files at any depth, but for hidden ones and those in hidden folders."""
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]  # os.walk goes on with what is left here
        yield from (Path(place) / name for name in files if not name.startswith("."))


def require_named(files: list[Path]) -> None:
    """Raise DataError for names that are no text: reports and fingerprints are text."""
    for file in files:
        try:
            str(file).encode()
        except UnicodeEncodeError as error:
            shown = os.fsencode(file).decode(errors="backslashreplace")
            raise DataError(f"the name of image {shown} is not UTF-8. Rename it.") from error


def shrink_and_crop(image: Image.Image, size: int) -> Image.Image:
    """The shorter side resized to `size` (antialiased bicubic), then the middle square."""
    from torchvision.transforms import InterpolationMode, functional  # slow to import

    resized = functional.resize(image, [size], InterpolationMode.BICUBIC, antialias=True)
    return functional.center_crop(resized, [size])


def halve_and_crop(image: Image.Image, size: int) -> Image.Image:
    """As ADM's training data were made: halved by boxes while the shorter side is at least twice `size`, then bicubic
    until it is `size`, then the middle square; of an odd margin the smaller part lies left and above.

    Source: Dhariwal and Nichol 2021, guided-diffusion; its reference batches and the data of DiT, SiT and EDM2 too.
    """
    while min(image.size) >= 2 * size:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    scale = size / min(image.size)
    width, height = (round(side * scale) for side in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    return image.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))


def crop(image: Image.Image, size: int) -> Image.Image:
    """The middle square as it is, black around an image that is smaller."""
    from torchvision.transforms import functional  # slow to import

    return functional.center_crop(image, [size])


SQUARED = {ANTIALIASED: shrink_and_crop, ADM: halve_and_crop, CROP: crop}


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
        with Image.open(file, formats=FORMATS) as image:
            if (layout := _deep_layout(image)) is not None:
                raise DataError(f"{file} has more than 8 bits per channel ({layout}). Convert it to 8 bits.")
            yield image
    except DataError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{file} is damaged or no image ({error}). Replace it.") from error


def _deep_layout(image: Image.Image) -> str | None:
    """What PIL calls the layout of a file with more than 8 bits per channel; None for others. Of an open image that is
    not read yet: afterwards the file's own layout is forgotten.
    """
    if image.mode in DEEP_MODES:
        return image.mode
    for tile in getattr(image, "tile", []):
        layout, *rest = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        if isinstance(layout, str) and DEEP_LAYOUTS.match(layout):
            return layout
        if tile[0].startswith("ppm") and rest and int(rest[0]) > 255:
            return f"{layout}, values up to {rest[0]}"
    return None
