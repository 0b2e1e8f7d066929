"""Regression pairs: the same images, times and noises at any batch size."""

import itertools

import torch

from genuq.posteriors.fitting.regression import keyed_normal, regression_batches
from genuq.randomness import FITTING
from support.posterior_oracles import (
    image_data,
    rows,
    tiny_model,
)

# Several (t, eps) an image ----------------------------------------------------------------------------------------


def test_repeats_are_fresh_and_stratified_and_the_first_is_the_only_one():
    model, data = tiny_model(), image_data()
    once, thrice = (rows(model, data, FITTING, range(8), repeats=repeats) for repeats in (1, 3))
    assert thrice.index_B.tolist() == list(range(8)) * 3
    assert sorted((thrice.t * 24).int().tolist()) == list(range(24))
    noise = lambda batch: batch.target + data.batch(batch.index_B.tolist())[0]  # noqa: E731  flow: target = eps - x_0
    assert torch.allclose(noise(thrice)[:8], noise(once), atol=1e-6)
    assert not torch.allclose(noise(thrice)[8:16], noise(thrice)[:8], atol=0.1)


def test_numbers_of_the_fisher_belong_to_the_row():
    model, data = tiny_model(), image_data()
    whole = rows(model, data, FITTING, [3, 9], repeats=2)
    numbers = keyed_normal(whole, (2, 2), 0, "fisher")
    assert len({float(row.sum()) for row in numbers}) == 4
    alone = rows(model, data, FITTING, [9])
    assert torch.equal(keyed_normal(alone, (2, 2), 0, "fisher")[0], numbers[1])


# The regression problem -----------------------------------------------------------------------------------------


def test_the_batches_are_the_same_images_times_and_noises_at_any_batch_size():
    model, data, chosen = tiny_model(), image_data(), [5, 2, 11, 7, 0]
    whole = next(regression_batches(model, data, chosen, 5, 3, FITTING))
    parts = list(regression_batches(model, data, chosen, 2, 3, FITTING))
    for name in ("x", "t", "target"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name))


def test_times_are_stratified_and_targets_are_the_models():
    model, data = tiny_model(), image_data()
    batch = next(regression_batches(model, data, list(range(24)), 24, 0, FITTING))
    assert sorted((batch.t * 24).int().tolist()) == list(range(24))
    t, images = batch.t[:, None, None, None], data.batch(list(range(24)))[0]
    noise = (batch.x - (1 - t) * images) / t  # flow matching: x_t = (1 - t) x_0 + t eps, target eps - x_0
    error = ((noise - images - batch.target).abs() * t).amax()
    assert float(error) < 1e-5
    for first, second in itertools.combinations(range(3), 2):
        assert not torch.allclose(noise[first], noise[second], atol=0.1)
