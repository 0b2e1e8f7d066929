"""Batches of the training: the same for any number of processes, every image once an epoch."""

from __future__ import annotations

import torch

from genuq.data import gaussian_mixture
from genuq.training.batches import StepBatches, TrainingBatch, step_noise


def test_the_shares_of_two_processes_are_the_batch_of_one() -> None:
    dataset = gaussian_mixture(8, 50)
    whole = StepBatches(dataset, 16, steps=7, seed=4)
    shares = [StepBatches(dataset, 16, 7, 4, rank, 2) for rank in (0, 1)]
    for step in (0, 2, 6):
        batch, parts = whole[step], [share[step] for share in shares]
        assert torch.equal(batch.images, torch.cat([part.images for part in parts]))
        noise, noises = step_noise(batch, (2,), 4, 0.5), [step_noise(part, (2,), 4, 0.5) for part in parts]
        for one, two in zip(noise, zip(*noises)):
            assert torch.equal(one, torch.cat(two))


def test_an_epoch_sees_every_image_once_in_a_new_order() -> None:
    batches = StepBatches(gaussian_mixture(8, 48), 16, steps=6, seed=0)
    epochs = [torch.cat([batches[step].images for step in range(start, start + 3)]) for start in (0, 3)]
    everything = batches.dataset.batch(range(48))[0]
    assert all(torch.equal(epoch.sort(0).values, everything.sort(0).values) for epoch in epochs)
    assert not torch.equal(*epochs)


def test_times_are_stratified_over_the_batch() -> None:
    batch = TrainingBatch(torch.zeros(64, 2), torch.zeros(64), step=3, rows=slice(0, 64), batch_size=64)
    t = step_noise(batch, (2,), seed=0, drop_rate=0.1).t
    assert torch.equal((t * 64).floor().sort().values, torch.arange(64.0))
