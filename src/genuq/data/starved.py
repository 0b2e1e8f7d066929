"""Training sets that have hardly any images of a class, or none: where uncertainty about the weights should show."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from genuq.data.base import Dataset, Indices, Subset
from genuq.errors import ConfigurationError, did_you_mean
from genuq.parts.bounds import Probability, check
from genuq.randomness import generator

STARVED, PERMUTED = "starved class", "permuted labels"


class Starved(Subset):
    """Some of the items of a set, with labels of their own."""

    def __init__(self, dataset: Dataset, indices: Indices, labels: Tensor) -> None:
        super().__init__(dataset, indices)
        self.labels = labels

    def batch(self, indices: Indices) -> tuple[Tensor, Tensor]:
        return super().batch(indices)[0], self.labels[torch.as_tensor(indices, dtype=torch.long)]

    def content_digests(self, indices: Tensor) -> Iterable[bytes]:
        yield from super().content_digests(indices)
        yield hashlib.sha256(self.labels[indices].contiguous().numpy().data).digest()


def starved(dataset: Dataset, shares: Mapping[str, float], seed: int, permute: bool = True) -> Starved:
    """The set with only a share of some classes, drawn uniformly; all else is there, in its order.

    Args:
        shares: by name of the class, the share of its items that stay, at least one; 0 leaves the class out.
        seed: of the draw.
        permute: give the label of a class that is left out to items of all other classes at random, as many as a class
            has on average, in place of their own: a model knows it then as one of the others, and never saw the class.
            Else nothing has that label.
    Raises:
        ConfigurationError: no such class, a share outside [0, 1], or nothing left.
    """
    kept, labels = torch.ones(len(dataset), dtype=torch.bool), dataset.labels.clone()
    left_out = []
    for name, share in shares.items():
        code = _code(dataset, name, share)
        members = (dataset.labels == code).nonzero()[:, 0]
        count = max(1, round(share * len(members))) if share > 0 else 0
        order = torch.randperm(len(members), generator=generator(seed, code, STARVED))
        kept[members[order[count:]]] = False
        left_out += [code] if share == 0 else []
    indices = kept.nonzero()[:, 0]
    if not len(indices):
        raise ConfigurationError("data.starve leaves no item in the training set. Keep a share of some class.")
    for code in left_out if permute else []:
        order = torch.randperm(len(indices), generator=generator(seed, code, PERMUTED))
        labels[indices[order[: max(1, len(indices) // dataset.num_classes)]]] = code
    return Starved(dataset, indices, labels[indices])


def _code(dataset: Dataset, name: str, share: float) -> int:
    if name not in dataset.class_names:
        raise ConfigurationError(
            f"data.starve: {dataset.name} has no class '{name}'.{did_you_mean(name, dataset.class_names)}"
        )
    check(f"data.starve, the share of '{name}'", share, Probability)
    return dataset.class_names.index(name)
