"""The regression problem that the network was trained on, as batches that any process can make by their number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from genuq.data import Dataset
from genuq.models import GenerativeModel
from genuq.randomness import generator, generators, normal, uniform


class Observations(NamedTuple):
    """What makes up a batch, on the CPU: images, classes, times, noise, and which image and repetition each row is."""

    images: Tensor
    classes: Tensor
    t: Tensor
    noise: Tensor
    index_B: Tensor
    repeat_B: Tensor


class RegressionBatch(NamedTuple):
    """A batch of the regression problem on the model's device; y is None for an unconditional model."""

    x: Tensor
    t: Tensor
    y: Tensor | None
    target: Tensor
    index_B: Tensor
    repeat_B: Tensor


class RegressionBatches(torch.utils.data.Dataset):
    """Item b is batch b: the same whatever was made before, in whichever process.

    Args:
        dataset: images or points.
        indices: the images to use.
        shape: of the noise, the model's latent shape.
        batch_size: rows of a batch; changes no row.
        seed, stream: key times and noise, together with the image's index.
        repeats: how many (t, eps) each image gets; times are stratified over all of them.

    Attributes:
        total: rows of all passes of the fit that it belongs to, for the progress.
    """

    def __init__(
        self,
        dataset: Dataset,
        indices: Sequence[int],
        shape: Sequence[int],
        batch_size: int,
        seed: int,
        stream: str,
        repeats: int = 1,
    ) -> None:
        self.dataset, self.shape, self.batch_size = dataset, tuple(shape), batch_size
        self.seed, self.stream = seed, stream
        self.rows = [(index, repeat) for repeat in range(repeats) for index in indices]
        self.total = len(self.rows)
        self._strata = torch.randperm(len(self.rows), generator=generator(seed, 0, f"{stream}, strata"))

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def rows_in(self, batch: int) -> int:
        return min(self.batch_size, len(self.rows) - batch * self.batch_size)

    def __getitem__(self, batch: int) -> Observations:
        span = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
        index, repeat = torch.tensor(self.rows[span]).unbind(1)
        images, classes = self.dataset.batch(index.tolist())
        sources = [self._source(*row) for row in self.rows[span]]
        t = (self._strata[span] + uniform(sources)) / len(self.rows)
        return Observations(images, classes, t, normal(sources, self.shape), index, repeat)

    def _source(self, index: int, repeat: int) -> torch.Generator:
        return generator(self.seed, index, f"{self.stream}/{repeat}" if repeat else self.stream)


def regress(model: GenerativeModel, rows: Observations) -> RegressionBatch:
    """Noisy inputs, times, classes and targets of these rows, on the model's device."""
    device = model.device
    with torch.no_grad():
        latents = model.autoencoder.encode(rows.images.to(device))
    x_t, target = model.target(latents, rows.noise.to(device), rows.t.to(device))
    y = rows.classes.to(device) if model.num_classes else None
    return RegressionBatch(x_t, rows.t.to(device, x_t.dtype), y, target, rows.index_B, rows.repeat_B)


def regression_batches(
    model: GenerativeModel, dataset: Dataset, indices: Sequence[int], batch_size: int, seed: int, stream: str
) -> Iterator[RegressionBatch]:
    """All batches in turn; times stratified over all `indices`, noise keyed by image, whatever the batch size."""
    batches = RegressionBatches(dataset, indices, model.latent_shape, batch_size, seed, stream)
    for batch in range(len(batches)):
        yield regress(model, batches[batch])


def keyed_normal(batch: RegressionBatch, shape: Sequence[int], seed: int, stream: str) -> Tensor:
    """Standard normal numbers (B, *shape) on the batch's device, keyed by image and repetition."""
    rows = zip(batch.index_B.tolist(), batch.repeat_B.tolist())
    sources = [generators(seed, [index], f"{stream}/{repeat}")[0] for index, repeat in rows]
    return normal(sources, shape).to(batch.x.device)
