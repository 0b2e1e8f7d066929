import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cosine as scipy_cosine
from scipy.stats import multivariate_normal

from genuq import scores
from genuq.errors import ConfigurationError, DataError
from genuq.likelihoods import draws, gaussian_entropy

NAMES = [name for name in scores.SCORES.names(source="draws") if name != "entropy_as_released"]  # wrong on purpose


@pytest.fixture
def embeddings_NMD():
    torch.manual_seed(0)
    scale_N = torch.linspace(0.1, 2, 10)[:, None, None]
    return torch.randn(10, 5, 8, dtype=torch.float64) * scale_N + torch.randn(10, 1, 8, dtype=torch.float64)


def test_entropy_is_the_likelihoods(embeddings_NMD):
    expected = gaussian_entropy(embeddings_NMD, 0.3)
    torch.testing.assert_close(scores.functional("entropy")(embeddings_NMD, 0.3), expected, rtol=0, atol=0)


@pytest.mark.parametrize("variance", [1e-4, 0.5, torch.linspace(0.1, 1, 8)])
@pytest.mark.parametrize("number", [2, 5])
def test_full_covariance_entropy_agrees_with_the_dense_log_determinant(embeddings_NMD, variance, number):
    noise = np.diag(np.broadcast_to(np.asarray(variance, dtype=np.float64), 8))
    expected = [
        multivariate_normal(cov=np.cov(sample.T, bias=True) + noise).entropy()
        for sample in embeddings_NMD[:, :number].numpy()
    ]
    ours = scores.full_covariance_entropy(embeddings_NMD[:, :number], variance)
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-10)


def test_full_covariance_is_below_the_diagonal(embeddings_NMD):
    """Hadamard's inequality: ignoring correlations can only add entropy."""
    assert (scores.full_covariance_entropy(embeddings_NMD, 0.1) < scores.entropy(embeddings_NMD, 0.1)).all()


def test_trace_is_the_total_variance(embeddings_NMD):
    expected = [sample.var(0).sum() for sample in embeddings_NMD.numpy()]
    np.testing.assert_allclose(scores.trace(embeddings_NMD).numpy(), expected, rtol=1e-12)


def test_cosine_agrees_with_scipy(embeddings_NMD):
    expected = [np.mean([scipy_cosine(s[0], s[m]) for m in range(1, 5)]) for s in embeddings_NMD.numpy()]
    np.testing.assert_allclose(scores.cosine(embeddings_NMD).numpy(), expected, rtol=1e-10)


def test_cosine_of_tiny_angles_keeps_its_precision():
    angle = 1e-9
    pair = torch.tensor([[[1.0, 0.0], [math.cos(angle), math.sin(angle)]]], dtype=torch.float64)
    assert float(scores.cosine(pair)) == pytest.approx(angle**2 / 2, rel=1e-6)


@pytest.mark.parametrize("divergence", ["kl", "bhattacharyya"])
@pytest.mark.parametrize("variance", [0.5, torch.linspace(0.5, 4, 8, dtype=torch.float64)])
def test_paide_agrees_with_loops_over_divergences(embeddings_NMD, divergence, variance):
    """Oracle: the general formulas for two Gaussians, term by term."""
    covariance = np.diag(np.broadcast_to(np.asarray(variance), 8))

    def distance(a, b):
        quadratic = (a - b) @ np.linalg.solve(covariance, a - b)
        return quadratic / 2 if divergence == "kl" else quadratic / 8

    expected = []
    for sample in embeddings_NMD.numpy():
        inner = [sum(math.exp(-distance(a, b)) / 5 for b in sample) for a in sample]
        expected.append(multivariate_normal(cov=covariance).entropy() - sum(math.log(value) for value in inner) / 5)
    np.testing.assert_allclose(scores.paide(embeddings_NMD, variance, divergence).numpy(), expected, rtol=1e-10)


def test_paide_bounds_the_entropy_of_the_mixture():
    """Against numerical integration of a one-dimensional mixture."""
    centres, variance = torch.tensor([[[0.0], [0.8], [3.0]]], dtype=torch.float64), 0.4
    grid = np.linspace(-8, 12, 20_001)
    density = np.mean([multivariate_normal(float(c), variance).pdf(grid) for c in centres.flatten()], axis=0)
    entropy = -np.sum(density * np.log(density)) * (grid[1] - grid[0])
    lower = float(scores.paide(centres, variance, "bhattacharyya"))
    upper = float(scores.paide(centres, variance, "kl"))
    assert lower < entropy < upper


def test_paide_by_default_neither_saturates_nor_vanishes():
    """In 1280 features an observation variance of one feature's size makes all samples tie; the default does not."""
    torch.manual_seed(1)
    scale_N = torch.linspace(0.5, 2, 40)[:, None, None]
    embeddings = scale_N * torch.randn(40, 6, 1280)
    assert len(scores.paide(embeddings, 1.0).unique()) == 1
    by_default = scores.functional("paide")(embeddings, 1.0)
    assert len(by_default.unique()) == 40
    assert (
        torch.corrcoef(torch.stack([by_default.argsort().argsort().double(), torch.arange(40.0).double()]))[0, 1] > 0.95
    )


def test_paide_variance_makes_the_median_pairwise_divergence_one(embeddings_NMD):
    variance = scores.paide_variance(embeddings_NMD)
    means = []
    for sample in embeddings_NMD.numpy():
        pairs = [np.sum((sample[i] - sample[j]) ** 2) / 2 / variance for i in range(5) for j in range(5) if i != j]
        means.append(np.mean(pairs))
    assert sorted(means)[4] == pytest.approx(1, rel=1e-10)  # torch's median is the lower of the two in the middle


@pytest.mark.parametrize("name", NAMES)
def test_all_grow_with_the_spread_and_return_float64(name):
    torch.manual_seed(2)
    direction = torch.randn(1, 6, 20)
    embeddings = 10 + torch.tensor([0.01, 0.1, 0.5, 1.0])[:, None, None] * direction
    values = scores.functional(name)(embeddings.half(), 0.05)
    assert values.dtype == torch.float64 and values.shape == (4,)
    assert (values.diff() > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_all_ignore_the_order_of_features_and_of_perturbed_draws(embeddings_NMD, name):
    shuffled = embeddings_NMD[:, [0, 3, 1, 4, 2]][:, :, torch.randperm(8)]
    function = scores.functional(name)
    torch.testing.assert_close(function(shuffled, 0.2), function(embeddings_NMD, 0.2), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "cosine"])
def test_all_but_cosine_ignore_translation(embeddings_NMD, name):
    function = scores.functional(name)
    torch.testing.assert_close(function(embeddings_NMD + 7, 0.2), function(embeddings_NMD, 0.2), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_chunks_change_nothing(embeddings_NMD, name, monkeypatch):
    expected = scores.functional(name)(embeddings_NMD, 0.2)
    monkeypatch.setattr(draws, "CHUNK_NUMBERS", 5 * 8 * 3)
    torch.testing.assert_close(scores.functional(name)(embeddings_NMD, 0.2), expected, rtol=1e-12, atol=1e-14)


def test_near_matches():
    with pytest.raises(ConfigurationError, match="Did you mean 'entropy'"):
        scores.functional("entrpy")
    with pytest.raises(ConfigurationError, match="Did you mean 'divergence'"):
        scores.functional("paide", divergance="kl")
    with pytest.raises(ConfigurationError, match="has no option 'divergence'"):
        scores.functional("trace", divergence="kl")
    with pytest.raises(ConfigurationError, match="Did you mean 'bhattacharyya'"):
        scores.paide(torch.randn(3, 3, 3), 1.0, "batacharya")


def test_options_reach_the_functional(embeddings_NMD):
    function = scores.functional("paide", divergence="bhattacharyya", component_variance=0.7)
    expected = scores.paide(embeddings_NMD, 0.7, "bhattacharyya")
    torch.testing.assert_close(function(embeddings_NMD, 1e-3), expected, rtol=0, atol=0)


def test_paide_without_any_spread_is_told_so():
    with pytest.raises(DataError, match="same embedding under all draws"):
        scores.paide(torch.ones(3, 4, 5))
