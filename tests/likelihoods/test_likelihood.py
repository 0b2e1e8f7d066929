import pytest
import torch
from scipy.stats import spearmanr
from sklearn.datasets import load_digits

from genuq.errors import ConfigurationError, DataError
from genuq.extractors import FromCallable, build
from genuq.likelihoods import (
    PixelLikelihood,
    SemanticLikelihood,
    default_observation_variance,
    gaussian_entropy,
)


@pytest.fixture
def means():
    return FromCallable(lambda images_BCHW: images_BCHW.mean((2, 3)), "means", 3)


def test_images_under_draws_keep_their_places(means):
    images = torch.randint(0, 256, (4, 5, 3, 6, 6), dtype=torch.uint8)
    features_NMD = SemanticLikelihood(means).embed(images, batch_size=3)
    torch.testing.assert_close(features_NMD, (images.float() / 255).mean((3, 4)))
    torch.testing.assert_close(SemanticLikelihood(means).embed(images[:, 2]), features_NMD[:, 2])


def test_films_are_the_mean_of_their_frames(means):
    films = torch.rand(2, 4, 3, 5, 6, 6)
    found = SemanticLikelihood(means).embed(films, batch_size=3)
    torch.testing.assert_close(found, films.mean((3, 4, 5)))


def test_normalised_embeddings_have_length_one(means):
    likelihood = SemanticLikelihood(means, normalise=True)
    lengths = likelihood.embed(torch.rand(7, 3, 4, 4)).norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(7))
    assert likelihood.name == "semantic:means-normalised"


def test_pixel_likelihood_is_the_entropy_of_the_pixels():
    images = torch.rand(6, 4, 1, 3, 3)
    likelihood = PixelLikelihood((1, 3, 3), observation_variance=0.01)
    embeddings = likelihood.embed(images)
    torch.testing.assert_close(embeddings, images.flatten(2), rtol=0, atol=0)
    torch.testing.assert_close(likelihood.uncertainty(embeddings), gaussian_entropy(images.flatten(2), 0.01))
    assert likelihood.name == "pixel:pixels-1x3x3"


def test_observation_variance_says_where_it_comes_from(means):
    embeddings = torch.randn(8, 5, 3)
    given = SemanticLikelihood(means, observation_variance=0.25).observation_variance(embeddings)
    assert given.value == 0.25 and "configuration" in given.how
    chosen = SemanticLikelihood(means).observation_variance(embeddings)
    assert chosen.value == default_observation_variance(embeddings)
    assert "3 features" in chosen.how and "5 draws" in chosen.how and "8 samples" in chosen.how


def test_bad_values_fail_before_any_image_is_embedded(means):
    with pytest.raises(ConfigurationError, match="positive"):
        SemanticLikelihood(means, observation_variance=-1.0)
    with pytest.raises(DataError, match=r"\(N, M, C, H, W\)"):
        SemanticLikelihood(means).embed(torch.rand(3, 4, 4))


def test_default_variance_ranks_known_noise_levels_nearly_as_well_as_the_best():
    """Digits with a known amount of pixel noise each: the default sits on the plateau, not at the singular end."""
    generator = torch.Generator().manual_seed(0)
    digits = torch.from_numpy(load_digits().images[:120] / 16).float()[:, None, None]
    deviation_N = 0.005 * 10 ** torch.rand(120, generator=generator)
    noise = torch.randn(120, 5, 1, 8, 8, generator=generator)
    noisy = (digits + deviation_N[:, None, None, None, None] * noise).clamp(0, 1)
    embeddings = SemanticLikelihood(build("efficientnet", image_size=48)).embed(noisy)
    default = default_observation_variance(embeddings)

    def agreement(factor):
        return spearmanr(gaussian_entropy(embeddings, factor * default), deviation_N).statistic

    best = max(agreement(10.0**exponent) for exponent in range(-6, 7))
    assert best - 0.02 < agreement(1) and agreement(1) > agreement(1e-6) + 0.02
