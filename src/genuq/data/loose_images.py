"""Images that lie in a folder as somebody left them: read as they are, known by their pixels, labelled by folders."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from genuq.data.base import Dataset, Indices, to_signed
from genuq.data.folder import (
    MODES,
    SUFFIXES,
    opened_image,
    require_named,
    require_usable,
    shrink_and_crop,
    visible_files,
)
from genuq.errors import DataError, did_you_mean

NO_CLASSES = ("image",)  # the one class of images for a model that knows none
AT_ONCE = 256  # images that are decoded together


class LooseImages(Dataset):
    """The images at any depth below a folder, in the order of their names, for a model that makes such images.

    A model that knows classes needs the class of each: the name of the image's folder, the first below `root`; or one
    for all. A slash in a class name is an underscore in that of a folder (`T-shirt_top`); a class, or a prompt, may
    also be called by its number from 0 on, where no name is a number. Hidden files and folders,
    and files without an image's suffix, are passed over; an EXIF orientation turns nothing. Nothing is written.

    Args:
        root: the folder.
        shape: (C, H, W) of the model's images, C 1 (greyscale) or 3 (RGB).
        class_names: of the model's classes, in their order; none: it knows no classes, and folders mean nothing.
        asked: the name of the class of all images, in place of folders.
        resize: whether images of another size or colour mode are fitted to the model's as `ImageFolder` does; else
            they are refused.

    Raises:
        DataError: no such folder, no images, classes that are not known or not told, or a shape of no such images.
    """

    def __init__(
        self,
        root: str | Path,
        shape: Sequence[int],
        class_names: Sequence[str] = (),
        asked: str | None = None,
        resize: bool = False,
    ) -> None:
        self.root, self.shape, self.resize = Path(root).expanduser(), tuple(shape), resize
        self.folder, self.name, self.split = self.root, self.root.name, ""
        require_readable(self.shape, resize)
        self.files = _found(self.root)
        self.class_names = list(class_names or NO_CLASSES)
        self.labels = self._labels(list(class_names), asked)

    @property
    def names(self) -> list[str]:
        """Paths of the files below the folder."""
        return [file.relative_to(self.root).as_posix() for file in self.files]

    def batch(self, indices: Indices) -> tuple[Tensor, Tensor]:
        chosen = torch.as_tensor(indices, dtype=torch.long)
        return to_signed(self.pixels(chosen)), self.labels[chosen]

    def pixels(self, indices: Indices) -> Tensor:
        """The images as they are stored, uint8 (B, C, H, W).

        Raises:
            DataError: a file is damaged, of more than 8 bits a channel, or not of the model's size or colours.
        """
        return torch.stack([self._read(self.files[index]) for index in torch.as_tensor(indices).tolist()])

    def digests(self, progress: Callable[[int], None] = lambda done: None) -> list[str]:
        """Of the pixels of every image (`pixel_digest`), for which every file is read to its end.

        Args:
            progress: called with the number of images just read.

        Raises:
            DataError: with the names of the first files that cannot be used, and the number of all.
        """
        found: list[str] = []
        complaints: list[str] = []
        with ThreadPoolExecutor() as pool:
            for start in range(0, len(self.files), AT_ONCE):
                batch = self.files[start : start + AT_ONCE]
                for digest, complaint in pool.map(self._seen, batch):
                    found.append(digest)
                    complaints += [complaint] if complaint else []
                progress(len(batch))
        require_usable(complaints, len(self.files), self.root)
        return found

    def content_digests(self, indices: Tensor) -> Iterable[bytes]:
        for index in indices.tolist():
            yield self.names[index].encode()
            yield pixel_digest(self._read(self.files[index])).encode()

    def verify(self, indices: Indices | None = None) -> None:
        self.digests()

    def _seen(self, file: Path) -> tuple[str, str]:
        """(digest, what is wrong with the file)."""
        try:
            return pixel_digest(self._read(file)), ""
        except DataError as error:
            return "", str(error)

    def _read(self, file: Path) -> Tensor:
        from torchvision.transforms.functional import pil_to_tensor  # slow to import

        with opened_image(file) as image:
            return pil_to_tensor(self._fitted(file, image))

    def _fitted(self, file: Path, image: Image.Image) -> Image.Image:
        channels, height, width = self.shape
        if self.resize:
            return shrink_and_crop(image.convert(MODES[channels]), height)
        if (image.size, image.mode) != ((width, height), MODES[channels]):
            raise DataError(
                f"{file} is {image.width} x {image.height} pixels of mode {image.mode}, but the model makes "
                f"{width} x {height} of mode {MODES[channels]}. Give --resize to fit such images to it (shorter side "
                "resized, middle cut out, colours converted), or take the file away."
            )
        return image

    def _labels(self, known: list[str], asked: str | None) -> Tensor:
        if not known:
            if asked is not None:
                raise DataError(f"--class {asked}: the model knows no classes. Leave it out.")
            return torch.zeros(len(self.files), dtype=torch.long)
        if asked is not None:
            return torch.full((len(self.files),), _class_of(asked, known, "--class"))
        return torch.tensor([self._class_of_file(name, known) for name in self.names])

    def _class_of_file(self, name: str, known: list[str]) -> int:
        folder, slash, _ = name.partition("/")
        if not slash:
            raise DataError(
                f"{self.root / name} lies in no folder of a class, but the model knows classes: put the images into "
                f"folders called after them, or give --class NAME for all.{did_you_mean('', known)}"
            )
        return _class_of(folder, known, str(self.root / folder))


def pixel_digest(pixels: Tensor) -> str:
    """What an image is known by: sha256 of its shape and of its pixels.

    Args:
        pixels: (C, H, W) uint8; of a point in space its coordinates (D,), float32.
    """
    content = pixels.detach().cpu().contiguous().numpy()
    return hashlib.sha256(f"{content.dtype}{tuple(pixels.shape)}".encode() + content.tobytes()).hexdigest()


def require_readable(shape: tuple[int, ...], resize: bool) -> None:
    """Raise DataError for a model whose images no file holds, or to whose shape none can be fitted."""
    if len(shape) != 3 or shape[0] not in MODES:
        raise DataError(
            f"the model makes samples of shape {shape}, which image files do not hold: they are (C, H, W), C 1 or 3. "
            "Give tensors to genuq.score_images."
        )
    if resize and shape[1] != shape[2]:
        raise DataError(
            f"--resize makes squares, but the model's images are {shape[2]} x {shape[1]}. Resize the files."
        )


def _found(root: Path) -> list[Path]:
    if not os.path.isdir(root):
        raise DataError(f"{root} is no folder. Give the folder that holds the images.")
    images = sorted(_images_below(root))
    if not images:
        raise DataError(f"{root} has no images ({', '.join(sorted(SUFFIXES))}). Give the folder that holds some.")
    require_named(images)
    return images


def _images_below(root: Path) -> Iterator[Path]:
    return (file for file in visible_files(root) if file.suffix.lower() in SUFFIXES)


def _class_of(name: str, known: Sequence[str], where: str) -> int:
    """The number of a class by its name, with underscores for slashes, or by the number where no name is one."""
    places = [place for place, other in enumerate(known) if name in (other, other.replace("/", "_"))]
    if not places and not any(other.isdecimal() for other in known):
        places = [place for place in range(len(known)) if name == str(place)]
    if not places:
        raise DataError(f"{where}: '{name}' is no class of the model.{did_you_mean(name, known)}")
    return places[0]
