"""What every data set answers to: items, vectorised batches, labels, and a fingerprint of its content."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from genuq.data.checks import checked_items, checked_labels, require_range
from genuq.data.truth import Oracle
from genuq.errors import DataError
from genuq.randomness import SUBSET, generator

Indices = Sequence[int] | Tensor
SPLITS = ("train", "test")


class Dataset(torch.utils.data.Dataset, ABC):
    """A labelled set of images in [-1, 1] or of points in the plane.

    Attributes:
        name: the set's name, for tables and file names.
        split: `train` or `test`; empty where the set has none.
        shape: of one item, (C, H, W) for images, (2,) for points.
        class_names: one name per class; labels index this list.
        labels: int64 (N,).
        folder: that the items are read from whenever they are asked for; None for sets in memory.
        oracle: knows the truth of any sample, where the set was drawn by rules; None for data from the world.
        remark: a sentence that every reader of a result must know of the data; empty of most.
        bounds: between which images lie: [-1, 1] of all that are read as they should be.
    """

    remark: str = ""
    bounds: tuple[float, float] = (-1.0, 1.0)
    folder: Path | None = None
    oracle: Oracle | None = None
    name: str
    split: str
    shape: tuple[int, ...]
    class_names: list[str]
    labels: Tensor

    @abstractmethod
    def batch(self, indices: Indices) -> tuple[Tensor, Tensor]:
        """Items float32 (B, *shape) and their labels int64 (B,), in the order of `indices`."""

    @abstractmethod
    def content_digests(self, indices: Tensor) -> Iterable[bytes]:
        """What the fingerprint of these items is made of, in order."""

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the content, the split and the selection: equal only for the same data in the same order.

        It does not depend on the route, the cache or where a folder lies.
        """
        return self.fingerprint_of(torch.arange(len(self)))

    def fingerprint_of(self, indices: Tensor) -> str:
        """The fingerprint of a selection of the items."""
        digest = hashlib.sha256(f"{self.split}/{self.shape}/{self.class_names}".encode())
        for part in self.content_digests(indices):
            digest.update(part)
        return digest.hexdigest()

    def verify(self, indices: Indices | None = None) -> None:
        """Raise DataError for items (default: all) that cannot be read. Sets in memory were checked when made."""

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"item {index} of {self.name}, which has {len(self)}")
        items, labels = self.batch([index % len(self)])
        return items[0], int(labels[0])

    def __getitems__(self, indices: list[int]) -> list[tuple[Tensor, int]]:
        """Lets a DataLoader fetch a whole batch at once instead of item by item."""
        items, labels = self.batch(indices)
        return list(zip(items, labels.tolist()))


class ArrayDataset(Dataset):
    """A set held in memory.

    Args:
        items: uint8 images (N, C, H, W) or films (N, C, F, H, W), given out as float32 in [-1, 1], floating ones in
            [-1, 1], or float points (N, D), given out unchanged.
        labels: (N,) integers that index `class_names`.
        class_names: one per class.
        name, split: for tables and for the fingerprint.

    Raises:
        DataError: items or labels of another kind (`genuq.data.checks`), or labels without a class.
        NonFiniteError: NaN or infinite values.
    """

    def __init__(self, items: Tensor, labels: Tensor, class_names: Sequence[str], name: str, split: str = "") -> None:
        self.items = checked_items(items, name)
        self.labels = checked_labels(labels, len(self.items), name)
        if len(labels) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < len(class_names):
            raise DataError(f"{name} has labels outside 0..{len(class_names) - 1}, the range of its class names.")
        self.class_names, self.name, self.split = list(class_names), name, split
        self.shape = tuple(self.items.shape[1:])

    def batch(self, indices: Indices) -> tuple[Tensor, Tensor]:
        chosen = torch.as_tensor(indices, dtype=torch.long)
        items = self.items[chosen]
        return to_signed(items) if items.dtype == torch.uint8 else items, self.labels[chosen]

    def content_digests(self, indices: Tensor) -> Iterable[bytes]:
        for content in (self.items[indices], self.labels[indices]):
            yield hashlib.sha256(content.contiguous().numpy().data).digest()


def as_dataset(
    data: Dataset | Tensor,
    labels: Tensor | Sequence[int] | None = None,
    name: str = "tensor",
    num_classes: int = 0,
) -> Dataset:
    """A plain tensor as a data set: uint8 images (N, C, H, W), float images in [-1, 1], or points (N, D).

    Args:
        labels: (N,) classes from 0 on; None puts all items into one class. Of a data set they are its own.
        num_classes: that the model knows, which then needs the labels of a tensor; 0: it knows none.

    Raises:
        DataError: items or labels of another kind (`genuq.data.checks`), no labels of a tensor for a model that knows
            classes, a label beyond them, or labels of a data set, which has its own.
    """
    if isinstance(data, Dataset):
        if labels is not None:
            raise DataError(f"labels are given beside {data.name}, which has its own. Leave them out.")
        return data
    if labels is None and num_classes > 1:
        raise DataError(
            f"the model knows {num_classes} classes, and a tensor says nothing of them: give labels=..., the class of "
            "each item from 0 on, or a data set."
        )
    found = torch.zeros(len(data), dtype=torch.long) if labels is None else torch.as_tensor(labels)
    last = int(found.max()) if found.numel() else 0
    if 0 < num_classes <= last:
        raise DataError(f"labels hold the class {last}, but the model knows {num_classes}: 0 to {num_classes - 1}.")
    classes = max(num_classes, last + 1)
    return ArrayDataset(data, found, [str(label) for label in range(classes)], name)


def check_first_item(dataset: Dataset) -> None:
    """Raise DataError unless the first item is what its data set says: a batch of float32, of its shape and range.

    All labels must be of its classes: one beyond them would be an index out of range within a network.
    """
    if not len(dataset):
        raise DataError(f"{dataset.name} is empty.")
    items, labels = dataset.batch([0])
    if tuple(items.shape) != (1, *dataset.shape) or items.dtype != torch.float32:
        raise DataError(
            f"{dataset.name} gives items of {tuple(items.shape)} {str(items.dtype).removeprefix('torch.')} for one of "
            f"shape {tuple(dataset.shape)}: its `batch` must give float32 (B, *shape)."
        )
    require_range(items, dataset.name, dataset.bounds)
    for label in (checked_labels(labels, 1, dataset.name), _foreign(dataset)):
        if len(label) and not 0 <= int(label[0]) < dataset.num_classes:
            raise DataError(f"{dataset.name} gives the label {label[0]}, but has {dataset.num_classes} class names.")


def _foreign(dataset: Dataset) -> Tensor:
    """The labels that are none of the classes."""
    labels = torch.as_tensor(dataset.labels)
    return labels[(labels < 0) | (labels >= dataset.num_classes)]


class Subset(Dataset):
    """The items of `dataset` at `indices`, in that order, with all its classes."""

    def __init__(self, dataset: Dataset, indices: Indices) -> None:
        self.dataset, self.indices = dataset, torch.as_tensor(indices, dtype=torch.long)
        self.name, self.split, self.folder, self.remark = dataset.name, dataset.split, dataset.folder, dataset.remark
        self.shape, self.class_names, self.oracle = dataset.shape, dataset.class_names, dataset.oracle
        self.labels, self.bounds = dataset.labels[self.indices], dataset.bounds

    def batch(self, indices: Indices) -> tuple[Tensor, Tensor]:
        return self.dataset.batch(self.indices[torch.as_tensor(indices, dtype=torch.long)])

    def content_digests(self, indices: Tensor) -> Iterable[bytes]:
        return self.dataset.content_digests(self.indices[indices])

    def verify(self, indices: Indices | None = None) -> None:
        self.dataset.verify(self.indices if indices is None else self.indices[torch.as_tensor(indices)])


def subset(dataset: Dataset, size: int, seed: int) -> Subset:
    """`size` items drawn uniformly without replacement, in ascending order: the same ones for the same seed.

    Raises:
        DataError: `size` is not between 1 and the size of the set.
    """
    if not 1 <= size <= len(dataset):
        raise DataError(f"a subset of {size} was asked of {dataset.name}, which has {len(dataset)} items. Lower it.")
    order = torch.randperm(len(dataset), generator=generator(seed, 0, SUBSET))
    return Subset(dataset, order[:size].sort().values)


def to_signed(images: Tensor) -> Tensor:
    """uint8 in 0..255 to float32 in [-1, 1]."""
    return images.float().mul_(2 / 255).sub_(1)


def check_split(split: str) -> str:
    if split not in SPLITS:
        raise DataError(f"split '{split}' does not exist; it is one of {', '.join(SPLITS)}.")
    return split
