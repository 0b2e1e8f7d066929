"""The likelihood of points: coordinates as they are, and the variance of images' likelihoods."""

from __future__ import annotations

import torch

from genuq.likelihoods import PixelLikelihood, PointLikelihood, default_observation_variance
from genuq.likelihoods.points import without_encoder


def test_points_and_their_draws_are_their_own_embedding() -> None:
    likelihood = PointLikelihood(2)
    for points in (torch.randn(7, 2), torch.randn(7, 3, 2)):
        assert torch.equal(likelihood.embed(points), points)
    assert (likelihood.name, likelihood.dimension) == ("points", 2)


def test_the_variance_is_that_of_any_likelihood() -> None:
    embeddings = torch.randn(8, 5, 2, generator=torch.Generator().manual_seed(0))
    assert PointLikelihood(2, 0.25).observation_variance(embeddings).value == 0.25
    assert PointLikelihood(2).observation_variance(embeddings).value == default_observation_variance(embeddings)


def test_the_shape_of_a_sample_decides() -> None:
    assert isinstance(without_encoder((1, 3, 3)), PixelLikelihood)
    points = without_encoder((2,), 0.5)
    assert isinstance(points, PointLikelihood) and points.fixed_variance == 0.5
