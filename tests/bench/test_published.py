"""The published procedures find genuq's own numbers where both compute the same thing: they are its slow twins."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.utils import parameters_to_vector

pytest.importorskip("laplace")
pytest.importorskip("backpack")

from genuq.bench import published
from genuq.bench.published import Task
from genuq.likelihoods import gaussian_entropy
from genuq.models import GenerativeModel, Sampler, sample
from genuq.networks import UNet
from genuq.posteriors import DiagonalLaplace, Scale
from genuq.posteriors.fitting.regression import RegressionBatch
from genuq.propagators import Paper, propagate
from genuq.solvers import Euler

SHAPE, COUNT, STEPS = (1, 8, 8), 6, 4
SAMPLER = Sampler(Euler(), steps=STEPS, batch_size=4)


@pytest.fixture(scope="module")
def model() -> GenerativeModel:
    torch.manual_seed(0)
    made = GenerativeModel(UNet(SHAPE, (8, 16), num_classes=3), SHAPE, num_classes=3).eval()
    torch.nn.init.normal_(made.head.weight, std=0.1)
    return made


@pytest.fixture(scope="module")
def batches(model: GenerativeModel) -> list[RegressionBatch]:
    source = torch.Generator().manual_seed(1)
    x, target = (torch.randn(6, *SHAPE, generator=source) for _ in range(2))
    t, rows = torch.rand(6, generator=source), torch.arange(6)
    whole = RegressionBatch(x, t, rows % 3, target, rows, 0 * rows)
    return [RegressionBatch(*parts) for parts in zip(*(tensor.split(4) for tensor in whole))]


@pytest.fixture(scope="module")
def fitted(model, batches):
    return published.fitted_head(model, batches)


@pytest.fixture(scope="module")
def ours(model, batches) -> DiagonalLaplace:
    posterior = DiagonalLaplace(model.head, convention="laplace_torch")
    for batch in batches:
        features, prediction = published.head_inputs(model, batch.x, batch.t, batch.y)
        residuals = torch.nn.functional.pixel_unshuffle(prediction - batch.target, published.stem_of(model))
        posterior.update(features, residuals)
    return posterior.finalise(Scale(n_effective=6, observation_noise=1.0, prior_precision=1.0))


@pytest.fixture(scope="module")
def task(model) -> Task:
    noise = SAMPLER.initial_noise(model, range(COUNT))
    return Task(noise, SAMPLER.classes_of(model, range(COUNT)), STEPS, 4)


def flat(matrix_OK: torch.Tensor) -> torch.Tensor:
    """In the order of the head's parameters: all weights, then the biases."""
    return torch.cat([matrix_OK[:, :-1].flatten(), matrix_OK[:, -1]])


def test_the_fisher_of_the_head_is_the_same(fitted, ours):
    assert torch.allclose(fitted.H.double(), flat(ours.curvature), rtol=1e-4)
    variance = flat(1 / (ours.curvature + 1))  # at their default scale
    assert torch.allclose(fitted.posterior_variance.double(), variance, rtol=1e-4)


def test_the_scheduler_makes_the_same_samples(model, task):
    assert torch.allclose(published.sampled(model, task), sample(model, SAMPLER, range(COUNT)), atol=1e-5)


def test_regenerations_put_the_trained_head_back(model, task, fitted):
    own = parameters_to_vector(model.head.parameters()).clone()
    versions = published.regenerated(model, task, fitted.sample(2))
    assert versions.shape == (COUNT, 3, *SHAPE) and torch.equal(parameters_to_vector(model.head.parameters()), own)
    assert torch.equal(versions[:, 0], published.sampled(model, task)) and versions.var(1).max() > 0


def test_the_entropy_is_the_same():
    embeddings = torch.randn(5, 4, 7, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(published.entropy(embeddings, 1e-3), gaussian_entropy(embeddings, 1e-3))


def test_drawn_heads_find_the_closed_forms_variance(model, batches, fitted, ours):
    features, _ = published.head_inputs(model, batches[0].x, batches[0].t, batches[0].y)
    torch.manual_seed(0)
    found = published.variance_over(model, features, fitted.sample(4000))
    exact = torch.nn.functional.pixel_shuffle(ours.predictive_variance(features), published.stem_of(model))
    assert torch.allclose(found, exact, rtol=0.15)  # a variance of 4,000 draws is known to 2.2 %


def test_maps_are_those_of_the_propagator_that_has_the_closed_form(model, task, fitted, ours):
    """The same recursion with other random states: images agree on the average."""
    torch.manual_seed(0)
    found = published.maps(model, task, fitted.sample(300), states=200)
    followed = propagate(model, ours, replace(SAMPLER, batch_size=COUNT), range(COUNT), Paper(states=200))
    assert torch.allclose(found.mean, followed.mean, atol=0.1)
    assert float(found.variance.sum() / followed.variance.sum()) == pytest.approx(1, abs=0.15)
