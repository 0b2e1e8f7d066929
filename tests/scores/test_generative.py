"""Generative uncertainty put together by hand from its parts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import genuq
from support.their_network import TheirNetwork, their_call


@pytest.fixture
def network() -> TheirNetwork:
    torch.manual_seed(0)
    return TheirNetwork()


@pytest.fixture
def training_images() -> Tensor:
    return (255 * torch.rand(96, 1, 8, 8, generator=torch.Generator().manual_seed(1))).byte()


def test_the_score_is_the_entropy_of_the_regenerations(network: TheirNetwork, training_images: Tensor) -> None:
    """Put together by hand from the parts: weights set, samples drawn, scipy's entropy taken."""
    from scipy.stats import multivariate_normal

    model = genuq.GenerativeModel(network, (1, 8, 8), num_classes=3, call=their_call, head="decoder.to_pixels")
    posterior = genuq.fit(model, training_images, labels=torch.arange(96) % 3, images=64, held_out=32).posterior
    sampler, likelihood = genuq.Sampler(steps=2), genuq.PixelLikelihood((1, 8, 8), observation_variance=0.01)
    result = genuq.generative_uncertainty(model, posterior, likelihood, sampler, [5, 2], draws=3, seed=7)
    layer, versions = network.decoder["to_pixels"], [genuq.sample(model, sampler, [5, 2])]
    for m in range(3):
        kept = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
        layer.load_state_dict(posterior.draw(m, 7))
        versions.append(genuq.sample(model, sampler, [5, 2]))
        layer.load_state_dict(kept)
    pixels_NMD = (torch.stack(versions, dim=1).flatten(2).double() + 1) / 2
    variance_ND = pixels_NMD.var(dim=1, correction=0) + 0.01
    expected = [multivariate_normal(cov=torch.diag(v).numpy()).entropy() for v in variance_ND]
    order = result.score.argsort().tolist()
    assert order == torch.tensor(expected).argsort().tolist()
    offset = result.score - torch.tensor(expected)
    assert torch.allclose(offset, offset.mean().expand(2), atol=1e-5)
