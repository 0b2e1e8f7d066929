"""Training batches keyed by step: the same whatever the number of processes, and after any resumption."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from genuq.data import Dataset as ImageSet
from genuq.randomness import TRAINING, generator


class TrainingBatch(NamedTuple):
    """One step's share: images (B, *shape), classes (B,), step, rows of the whole batch, and which images they are."""

    images: Tensor
    classes: Tensor
    step: int
    rows: slice
    batch_size: int
    indices: Tensor | None = None


class StepBatches(Dataset):
    """Item s is this process's share of the batch of step s.

    The order of the images is a fresh permutation each epoch, keyed by (seed, epoch).

    Args:
        dataset: images or points with labels.
        batch_size: of all processes together.
        steps: length of the training.
        seed: keys the order.
        rank, world_size: this process and the number of processes.
    """

    def __init__(
        self, dataset: ImageSet, batch_size: int, steps: int, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        self.dataset, self.batch_size, self.steps, self.seed = dataset, min(batch_size, len(dataset)), steps, seed
        share = -(-self.batch_size // world_size)
        self.rows = slice(rank * share, min((rank + 1) * share, self.batch_size))
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.long)

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> TrainingBatch:
        per_epoch = len(self.dataset) // self.batch_size
        epoch, position = divmod(step, per_epoch)
        if epoch != self._epoch:
            source = generator(self.seed, epoch, "epoch order")
            self._epoch, self._order = epoch, torch.randperm(len(self.dataset), generator=source)
        start = position * self.batch_size
        chosen = self._order[start : start + self.batch_size][self.rows]
        images, classes = self.dataset.batch(chosen)
        return TrainingBatch(images, classes, step, self.rows, self.batch_size, chosen)


class FromStep(Sampler):
    """The steps from `first` on, in order: where a resumed training goes on.

    Its length is that of the whole training: Lightning counts the batches before the checkpoint as fetched.
    """

    def __init__(self, first: int, steps: int) -> None:
        self.first, self.steps = first, steps

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.steps))

    def __len__(self) -> int:
        return self.steps


def loader(batches: StepBatches, first_step: int) -> DataLoader:
    return DataLoader(batches, batch_size=None, sampler=FromStep(first_step, len(batches)))


class StepNoise(NamedTuple):
    """Randomness of one training step for this process's rows."""

    t: Tensor  # (B,) times in (0, 1), stratified over the whole batch
    noise: Tensor  # (B, *latent_shape)
    drop: Tensor  # (B,) bool, where the class is hidden


def step_noise(batch: TrainingBatch, shape: tuple[int, ...], seed: int, drop_rate: float) -> StepNoise:
    """Times, noise and class drops of the whole batch, keyed by (seed, step), of which this process takes its rows."""
    source = generator(seed, batch.step, TRAINING)
    strata = torch.randperm(batch.batch_size, generator=source)
    t = (strata + torch.rand(batch.batch_size, generator=source)) / batch.batch_size
    drop = torch.rand(batch.batch_size, generator=source) < drop_rate
    noise = torch.randn(batch.batch_size, *shape, generator=source)
    return StepNoise(t[batch.rows], noise[batch.rows], drop[batch.rows])
