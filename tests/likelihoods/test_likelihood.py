import pytest
import torch

from genuq.errors import ConfigurationError, DataError
from genuq.extractors import FromCallable
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
