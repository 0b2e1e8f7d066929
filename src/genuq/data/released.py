"""ImageNet as the code released with two papers reads it for a Laplace fit, to show what its faults change.

No line of that code was used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from genuq.data.base import Indices, to_signed
from genuq.data.folder import ADM, CROP, ImageFolder
from genuq.errors import DataError
from genuq.randomness import generator

BAYESDIFF, DIFF_UQ = PAPERS = ("bayesdiff", "diff_uq")
EVERY = 50  # images for each item of the subset, as both papers' commands have it
PREPARED = {
    BAYESDIFF: "grey levels divided by half the image's size in place of 127.5",
    DIFF_UQ: "crops of images that are not resized, mirrored at random",
}


class ReleasedFolder(ImageFolder):
    """The training images as released code reads them for the fit of a posterior.

    Three faults are in both papers' code. Classes are numbered in the order in which the file system lists their
    folders, not by name, so that the network is told other classes. The subset's item i is the file i * r of this list,
    r drawn from 1 to `every` - 1: early files are likelier than late ones, the last are never chosen, some are chosen
    twice. Beside these `bayesdiff` divides grey levels by half the image's size, not by 127.5 (the range is [-1, 2.98]
    at 128 pixels and [-1, 0] at 512), and `diff_uq` cuts the middle out of images that were never resized.

    What the released code leaves to a file system, or draws anew at every access, is drawn once here, by a seed of its
    own: the order of classes, r, and which images are mirrored.

    Args:
        root, image_size, channels, split: see ImageFolder.
        paper: `bayesdiff` or `diff_uq`.
        every: the subset has one item for this many images.
        name: of the set; None: that of the folder.

    Raises:
        DataError: see ImageFolder; another paper, or a folder with fewer images than `every`.
    Source: Kou et al. 2024, arXiv:2310.11142; Jazbec et al. 2025, arXiv:2502.20946: their repositories.
    """

    def __init__(
        self,
        root: str | Path,
        image_size: int,
        paper: str,
        channels: int = 3,
        split: str = "",
        every: int = EVERY,
        name: str | None = None,
    ) -> None:
        if paper not in PAPERS:
            raise DataError(f"released is '{paper}'; images are read as {' or '.join(PAPERS)} released it.")
        super().__init__(root, image_size, channels, split, resize=ADM if paper == BAYESDIFF else CROP)
        if every < 2 or len(self.files) < every:
            raise DataError(
                f"released_every is {every}, but {self.root} has {len(self.files)} images, and one item for each "
                f"{every} is asked for. Give 2 to {len(self.files)}."
            )
        self.paper, self.every = paper, every
        self.name = f"{name or self.name} as {paper} released it"
        self.remark = (
            f"Training images are read as the code of {paper} does: classes in the order of a file system, a subset "
            f"that favours early files, {PREPARED[paper]}. Faults are kept on purpose."
        )
        if paper == BAYESDIFF:
            self.bounds = (-1.0, 255 / (image_size / 2) - 1)
        self._choose()

    def _choose(self) -> None:
        """Put the faulty subset in place of all files."""
        number_of_class = torch.randperm(self.num_classes, generator=generator(0, 0, "listed classes"))
        listed = number_of_class[self.labels].sort(stable=True)
        count, source = len(self.files) // self.every, generator(0, 0, "released subset")
        chosen = torch.arange(count) * torch.randint(1, self.every, (count,), generator=source)
        self.files = [self.files[index] for index in listed.indices[chosen].tolist()]
        self.labels = listed.values[chosen]
        self.mirrored = (torch.rand(count, generator=source) < 0.5) & (self.paper == DIFF_UQ)

    def batch(self, indices: Indices) -> tuple[Tensor, Tensor]:
        chosen = torch.as_tensor(indices, dtype=torch.long)
        images = torch.stack([self.image(self.files[index]) for index in chosen.tolist()])
        images = torch.where(self.mirrored[chosen, None, None, None], images.flip(-1), images)
        if self.paper == BAYESDIFF:
            return images.float() / (self.shape[-1] / 2) - 1, self.labels[chosen]
        return to_signed(images), self.labels[chosen]

    def content_digests(self, indices: Tensor) -> Iterable[bytes]:
        """Of the files as they are stored, of their labels and of how they are read."""
        yield f"{self.paper}/{self.mirrored[indices].tolist()}".encode()
        yield from super().content_digests(indices)
        yield hashlib.sha256(self.labels[indices].contiguous().numpy().data).digest()
