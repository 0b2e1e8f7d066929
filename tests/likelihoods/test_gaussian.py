import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from genuq.errors import ConfigurationError, DataError, NonFiniteError
from genuq.likelihoods import default_observation_variance, draws, gaussian_entropy


@pytest.fixture
def embeddings_NMD():
    torch.manual_seed(0)
    scale_N = torch.linspace(0.1, 3, 12)[:, None, None]
    return torch.randn(12, 6, 9, dtype=torch.float64) * scale_N + 5


def scipy_entropy(embeddings_NMD, variance_D):
    return [multivariate_normal(cov=np.diag(sample.var(0) + variance_D)).entropy() for sample in embeddings_NMD.numpy()]


@pytest.mark.parametrize("variance", [1e-3, 0.7, torch.linspace(0.01, 2, 9)])
def test_agrees_with_scipy(embeddings_NMD, variance):
    expected = scipy_entropy(embeddings_NMD, np.broadcast_to(np.asarray(variance, dtype=np.float64), 9))
    np.testing.assert_allclose(gaussian_entropy(embeddings_NMD, variance).numpy(), expected, rtol=1e-12)


def test_invariant_to_translation_and_permutations(embeddings_NMD):
    expected = gaussian_entropy(embeddings_NMD, 0.1)
    moved = embeddings_NMD + 100 * torch.randn(12, 1, 9, dtype=torch.float64)
    shuffled = embeddings_NMD[:, torch.randperm(6)][:, :, torch.randperm(9)]
    for other in (moved, shuffled):
        torch.testing.assert_close(gaussian_entropy(other, 0.1), expected, rtol=1e-10, atol=0)


def test_half_precision_far_from_zero_has_no_negative_variance():
    """E[x^2] - E[x]^2 in float16 is negative here; the centred variance of the rounded values is exact."""
    torch.manual_seed(1)
    half = (30 + 0.02 * torch.randn(50, 6, 64)).half()
    naive = (half**2).mean(1) - half.mean(1) ** 2
    assert (naive < 0).any()
    expected = scipy_entropy(half.double(), np.full(64, 1e-6))
    np.testing.assert_allclose(gaussian_entropy(half, 1e-6).numpy(), expected, rtol=1e-12)


def test_chunks_change_nothing(embeddings_NMD, monkeypatch):
    expected, variance = gaussian_entropy(embeddings_NMD, 0.1), default_observation_variance(embeddings_NMD)
    monkeypatch.setattr(draws, "CHUNK_NUMBERS", 6 * 9 * 5)
    torch.testing.assert_close(gaussian_entropy(embeddings_NMD, 0.1), expected, rtol=1e-14, atol=0)
    assert default_observation_variance(embeddings_NMD) == pytest.approx(variance, rel=1e-12)


def test_identical_draws_have_the_entropy_of_the_noise():
    same = torch.randn(3, 1, 4).expand(3, 5, 4)
    expected = multivariate_normal(cov=0.2 * np.eye(4)).entropy()
    np.testing.assert_allclose(gaussian_entropy(same, 0.2).numpy(), [expected] * 3, rtol=1e-12)


def test_no_samples_no_scores():
    assert gaussian_entropy(torch.empty(0, 5, 4), 1.0).shape == (0,)


@pytest.mark.parametrize("variance", [0.0, -1.0, float("nan"), float("inf"), torch.tensor([1.0, 0.0, 1.0])])
def test_impossible_observation_variances(variance):
    with pytest.raises(ConfigurationError, match="observation_variance must be positive"):
        gaussian_entropy(torch.randn(4, 3, 3), variance)


def test_observation_variance_of_another_length():
    with pytest.raises(ConfigurationError, match="one number or 3"):
        gaussian_entropy(torch.randn(4, 3, 3), torch.ones(4))


def test_one_draw_or_flat_embeddings_are_refused():
    with pytest.raises(DataError, match="at least 2 draws"):
        gaussian_entropy(torch.randn(4, 1, 3), 1.0)
    with pytest.raises(DataError, match="M draws"):
        gaussian_entropy(torch.randn(4, 3), 1.0)


def test_broken_embedding_names_its_sample(monkeypatch):
    monkeypatch.setattr(draws, "CHUNK_NUMBERS", 2 * 3 * 4)
    embeddings = torch.randn(9, 3, 4)
    embeddings[7, 1, 2] = torch.nan
    with pytest.raises(NonFiniteError, match="sample 7"):
        gaussian_entropy(embeddings, 1.0)


def test_default_variance_is_the_median_of_the_pooled_variances(embeddings_NMD):
    pooled_D = [embeddings_NMD[:, :, d].numpy().var(axis=1).mean() for d in range(9)]
    assert default_observation_variance(embeddings_NMD) == pytest.approx(np.median(pooled_D), rel=1e-12)


def test_default_variance_scales_with_the_features_and_keeps_the_ranking(embeddings_NMD):
    variance = default_observation_variance(embeddings_NMD)
    assert default_observation_variance(30 * embeddings_NMD) == pytest.approx(900 * variance, rel=1e-12)
    shift = gaussian_entropy(30 * embeddings_NMD, 900 * variance) - gaussian_entropy(embeddings_NMD, variance)
    torch.testing.assert_close(shift, shift[:1].expand_as(shift), rtol=1e-10, atol=0)


def test_dead_features_do_not_drive_the_default_to_zero(embeddings_NMD):
    dead = torch.zeros(12, 6, 40, dtype=torch.float64)
    with_dead = torch.cat([embeddings_NMD, dead], dim=2)
    assert default_observation_variance(with_dead) == pytest.approx(default_observation_variance(embeddings_NMD))


def test_draws_without_any_variance_have_no_default():
    with pytest.raises(DataError, match="raise posterior"):
        default_observation_variance(torch.randn(3, 1, 4).expand(3, 5, 4))
