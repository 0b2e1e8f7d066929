"""Reference sets as others keep them: ADM's reference batches of images, folders of features; read piece by piece."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genuq.errors import DataError
from genuq.files import opened
from genuq.metrics.reference import PRECISIONS
from genuq.randomness import SUBSET, generator

KEY = "metric.reference"
IMAGES = "arr_0"  # what np.savez calls its first array without a name
REMEDY = "Give an .npz with arr_0, uint8 images (N, H, W, 3), a folder of features (N, D), or leave it null."
SUFFIXES = (".npy", ".safetensors")


@dataclass(frozen=True)
class ReferenceImages:
    """uint8 images in an .npz, as guided-diffusion's evaluator reads them; never in memory as a whole.

    Attributes:
        path: of the archive.
        count: N.
        shape: (C, H, W).
    """

    path: Path
    count: int
    shape: tuple[int, int, int]

    def batches(self, rows: Sequence[int] | Tensor, size: int) -> Iterator[Tensor]:
        """uint8 (B, C, H, W) of ascending rows, at most `size` at a time.

        Raises:
            DataError: the archive is damaged.
        """
        channels, height, width = self.shape
        bytes_of_one, numbers, place = math.prod(self.shape), [int(row) for row in rows], 0
        with _member(self.path) as file:
            _header_of(file, self.path)
            for start in range(0, len(numbers), size):
                images = np.empty((len(numbers[start : start + size]), height, width, channels), dtype=np.uint8)
                for image, row in zip(images, numbers[start : start + size]):
                    _pass_over(file, (row - place) * bytes_of_one)
                    content, place = _content(file, bytes_of_one, self.path), row + 1
                    image.reshape(-1)[:] = np.frombuffer(content, dtype=np.uint8)
                yield torch.from_numpy(images).permute(0, 3, 1, 2)

    def require_shape(self, shape: tuple[int, ...]) -> None:
        """Raise DataError for images of another size or colours than the samples'."""
        if self.shape != shape:
            raise _wrong(
                self.path,
                f"'{IMAGES}' has images of {self.shape} (channels, height, width), but the data are {shape}: the "
                "resolution of both must be one (key data.image_size)",
            )


@dataclass(frozen=True)
class ReferenceFeatures:
    """Features of somebody's extractor, in files of rows.

    Attributes:
        path: the folder.
        files: in the order of their names, with how many rows each has.
        dimension: D.
        extractor: what made them, where a safetensors file says so in its metadata; else None.
    """

    path: Path
    files: tuple[tuple[Path, int], ...]
    dimension: int
    extractor: str | None

    @property
    def count(self) -> int:
        """N, over all files."""
        return sum(rows for _, rows in self.files)

    def read(self, rows: Sequence[int] | Tensor) -> Tensor:
        """float32 (len(rows), D) of ascending rows.

        Raises:
            DataError: NaN or infinite features.
        """
        wanted, found, start = torch.as_tensor(rows), [], 0
        for file, count in self.files:
            own = wanted[(wanted >= start) & (wanted < start + count)] - start
            array = _features(file)[0]
            found.append(torch.from_numpy(np.array(array[own.numpy()], dtype=np.float32)))
            start += count
            if not torch.isfinite(found[-1]).all():
                raise _wrong(self.path, f"{file.name} has NaN or infinite entries")
        return torch.cat(found)

    def require_space(self, dimension: int, extractor: str) -> None:
        """Raise DataError for features of another space than the judge's, as far as can be told."""
        told = f" of '{self.extractor}'" if self.extractor else ""
        if self.dimension != dimension or self.extractor not in (None, extractor):
            raise _wrong(
                self.path,
                f"features{told} have dimension {self.dimension}, but the judge '{extractor}' gives {dimension}; "
                "choose the extractor that they were made with (key metric.extractor)",
            )


def open_reference(path: str | Path) -> ReferenceImages | ReferenceFeatures:
    """A reference set by its headers, without reading it.

    An .npz must hold `arr_0`, uint8 images (N, H, W, 1 or 3); its other arrays are passed over. A folder must hold
    features: every .npy is an array (N, D), every .safetensors has one such tensor and may name its `extractor` in its
    metadata; in the order of their names they are one set. Nothing but plain numbers is read.

    Raises:
        DataError: no such file or folder, no such arrays, other types (half precision loses the sums), or other shapes.
    """
    place = Path(path).expanduser()
    if os.path.isdir(place):
        return _open_features(place)
    if not os.path.isfile(place):
        raise DataError(f"{KEY} = '{path}' does not exist. Correct the path. {REMEDY}")
    with _member(place) as file:
        shape, fortran, dtype = _header_of(file, place)
    if dtype != np.uint8:
        raise _wrong(place, f"'{IMAGES}' is {dtype}, but images must be uint8 in [0, 255]")
    if len(shape) != 4 or shape[-1] not in (1, 3) or fortran or not math.prod(shape):
        raise _wrong(place, f"'{IMAGES}' has shape {shape}, but must be (N, H, W, 1 or 3), rows first")
    return ReferenceImages(place, shape[0], (shape[3], shape[1], shape[2]))


def drawn_rows(count: int, wanted: int, seed: int) -> Tensor:
    """A seeded uniform choice of rows, ascending; all where no more are there: those of `genuq.data.subset`."""
    order = torch.randperm(count, generator=generator(seed, 0, SUBSET))
    return order[:wanted].sort().values


def _open_features(folder: Path) -> ReferenceFeatures:
    files = sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES and not file.name.startswith("."))
    if not files:
        raise _wrong(folder, f"the folder has no features ({', '.join(SUFFIXES)}); images belong in data.root/test")
    counts, dimensions, extractors = [], [], set()
    for file in files:
        array, extractor = _features(file)
        if str(array.dtype) not in PRECISIONS:
            raise _wrong(folder, f"{file.name} is {array.dtype}, but features must be {' or '.join(PRECISIONS)}")
        if array.ndim != 2 or not array.size:
            raise _wrong(folder, f"{file.name} has shape {array.shape}, but features must be (N, D)")
        counts.append((file, array.shape[0]))
        dimensions.append(array.shape[1])
        extractors |= {extractor} if extractor else set()
    if len(set(dimensions)) > 1 or len(extractors) > 1:
        found = f"dimensions {sorted(set(dimensions))}" + (
            f" and extractors {sorted(extractors)}" if extractors else ""
        )
        raise _wrong(folder, f"its files differ: {found}")
    return ReferenceFeatures(folder, tuple(counts), dimensions[0], next(iter(extractors), None))


def _features(file: Path) -> tuple[np.ndarray, str | None]:
    """The array of a file, read as it is asked for, and the extractor that it names."""
    try:
        if file.suffix == ".npy":
            return np.load(file, mmap_mode="r", allow_pickle=False), None
        with opened(file) as tensors:
            (name,) = tensors.keys()
            found: Tensor = tensors.get_tensor(name)
            array = found.numpy() if found.dtype != torch.bfloat16 else found.half().numpy()
            return array, (tensors.metadata() or {}).get("extractor")
    except Exception as error:  # NumPy and safetensors each raise their own
        raise _wrong(file.parent, f"{file.name} is no array of plain numbers ({error})") from error


def _member(path: Path) -> Any:
    """The array of images within an archive, open."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if f"{IMAGES}.npy" in names:
                return archive.open(f"{IMAGES}.npy")
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise _wrong(path, f"it is no archive of arrays ({error})") from error
    found = [name.removesuffix(".npy") for name in names]
    elsewhere = "; mu and sigma alone belong in metric.statistics" if {"mu", "sigma"} <= set(found) else ""
    raise _wrong(path, f"it has no '{IMAGES}', but {', '.join(found) or 'nothing'}{elsewhere}")


def _header_of(file: Any, path: Path) -> tuple[tuple[int, ...], bool, np.dtype]:
    """(shape, whether columns come first, type) of an array that is open at its start."""
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return read(file)
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise _wrong(path, f"'{IMAGES}' is damaged ({error})") from error


def _content(file: Any, count: int, path: Path) -> bytes:
    """That many bytes, all of them."""
    try:
        content: bytes = file.read(count)
    except Exception as error:  # zip and zlib each raise their own
        raise _wrong(path, f"'{IMAGES}' is damaged ({error})") from error
    if len(content) != count:
        raise _wrong(path, f"'{IMAGES}' is cut short")
    return content


def _pass_over(file: Any, count: int) -> None:
    """Go on by that many bytes, which zip files that are read as a stream do without keeping them."""
    if count:
        file.seek(count, os.SEEK_CUR)


def _wrong(path: Path, what: str) -> DataError:
    return DataError(f"{KEY} = '{path}': {what}. {REMEDY}")
