"""Training around an anchor: its loss, its prior, its noise."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from genuq.models import GenerativeModel
from genuq.networks import MLP
from genuq.posteriors.members import prior_sizes
from genuq.training.batches import StepBatches
from genuq.training.fine_tuning import AnchoredTraining, anchor, target_noise, working_copy
from genuq.training.optimisation import Optimisation
from support.small_members import points, trained_model


def test_the_training_minimises_that_loss() -> None:
    """The loss of a batch against the formula, written out for one image after the other."""
    training = anchored(perturb_targets=True)
    batch = StepBatches(points(), 16, 5, seed=7)[3]
    prediction, target = (part.detach() for part in training.predicted(batch))
    noise, squares = torch.zeros(16, 2), 0.0
    for row, index in enumerate(batch.indices.tolist()):
        noise[row] = target_noise(torch.tensor([index]), (2,), 7)[0]
        squares += float((prediction[row] - target[row] - 0.4**0.5 * noise[row]).square().sum()) / (2 * 0.4)
    trained, prior = dict(trained_model().network.named_parameters()), 0.0
    centre = anchor(trained, prior_sizes(trained, 0.1), seed=7)
    for name, value in training.model.network.named_parameters():
        value.data += 0.01  # away from the anchor
        size = 0.1 * float(trained[name].detach().square().mean().sqrt())
        prior += float((value.detach() - centre[name]).square().sum()) / (2 * size**2)
    minus_log_posterior = 50 / 16 * squares + prior  # 50 data, of which the batch shows 16
    moved, _ = training.predicted(batch)
    squares_moved = float((moved.detach() - target - 0.4**0.5 * noise).square().sum()) / (2 * 0.4)
    minus_log_posterior += 50 / 16 * (squares_moved - squares)
    assert float(training.batch_loss(batch).detach()) == pytest.approx(
        minus_log_posterior * 2 * 0.4 / (50 * 2), rel=1e-5
    )


def anchored(model: GenerativeModel | None = None, **options: Any) -> AnchoredTraining:
    chosen = {"relative_size": 0.1, "observation_noise": 0.4, "n_effective": 50} | options
    optimisation = Optimisation(steps=5, batch_size=16, learning_rate=1e-2, warmup_steps=1, class_dropout=0.0, seed=7)
    return AnchoredTraining(working_copy(model or trained_model()), points(), optimisation, **chosen)


def test_members_start_at_draws_from_the_prior() -> None:
    network = nn.Sequential(nn.Linear(200, 100), nn.Linear(100, 2))
    nn.init.zeros_(network[1].bias)
    trained = dict(network.named_parameters())
    sizes = prior_sizes(trained, 0.02)
    starts = [anchor(trained, sizes, seed) for seed in (0, 1)]
    for start in starts:
        weight = trained["0.weight"].detach()
        relative = (start["0.weight"] - weight).square().mean().sqrt() / weight.square().mean().sqrt()
        assert float(relative) == pytest.approx(0.02, rel=0.03)
    assert sizes["1.bias"] > 0 and not torch.equal(starts[0]["0.weight"], starts[1]["0.weight"])


def test_a_low_rank_prior_has_the_size_of_the_full_one() -> None:
    model = GenerativeModel(MLP((2,), width=64, depth=1), (2,))
    training = anchored(model, rank=3)
    trained = dict(model.network.named_parameters())
    for name, value in training.weights().items():
        moved = (value - trained[name]).detach().double()
        assert torch.linalg.matrix_rank(moved, rtol=1e-4) <= 3
        if name.startswith("layers"):
            relative = float(moved.square().mean().sqrt() / trained[name].detach().square().mean().sqrt())
            assert relative == pytest.approx(0.1, rel=0.2)  # 192 numbers carry it
    assert set(training.weights()) == {n for n in trained if n.endswith("weight") and "norm" not in n}


def test_target_noise_belongs_to_the_image() -> None:
    together = target_noise(torch.tensor([5, 9, 2]), (3, 4), seed=1)
    assert torch.equal(together[1], target_noise(torch.tensor([9]), (3, 4), seed=1)[0])
    assert not torch.equal(together, target_noise(torch.tensor([5, 9, 2]), (3, 4), seed=2))
