"""The exact score of a mixture against an integral on a grid, and against its own samples."""

from __future__ import annotations

import math

import pytest
import torch

from genuq import models, solvers
from genuq.data import lattice_mixture
from genuq.models import MODELS, Sampler
from genuq.models.exact import ExactMixture
from genuq.processes import FlowMatching


def test_it_is_the_posterior_mean_of_an_integral():
    """In one dimension, by the rectangle rule over x_0."""
    centres, deviation, t = torch.tensor([[-1.0], [0.5], [1.2]]), 0.3, 0.4
    network = ExactMixture(centres, deviation, FlowMatching())
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)
    grid = torch.linspace(-5, 5, 200_001, dtype=torch.float64)
    prior = (-(grid[:, None] - centres[:, 0].double()).square() / (2 * deviation**2)).exp().sum(1)
    found = []
    for value in x:
        weights = prior * (-(value - (1 - t) * grid).square() / (2 * t**2)).exp()
        found.append(float((weights * grid).sum() / weights.sum()))
    out = network(x[:, None].float(), torch.full((9,), t))
    torch.testing.assert_close(out[:, 0].double(), torch.tensor(found, dtype=torch.float64), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("dimension", "process"), [(2, "flow_matching"), (8, "flow_matching"), (2, "variance_preserving")]
)
def test_its_samples_are_valid(dimension, process):
    model = MODELS.make("exact_mixture", dimension=dimension, interpolant=process)
    sampler = Sampler(solver=solvers.build("euler"), steps=60, seed=0, batch_size=128)
    truth = lattice_mixture(dimension, size=10).oracle.truth(models.sample(model, sampler, range(128)))
    assert truth.valid.double().mean() > 0.97


def test_its_head_mixes_the_centres():
    model = MODELS.make("exact_mixture")
    assert model.head_name == "head" and model.head.weight.shape == (2, 25)
    at_mode = model.head.weight.T.detach()
    out = model(at_mode, torch.full((25,), 1e-3))
    assert (out - at_mode).abs().max() < 0.01 and math.isfinite(float(out.sum()))
