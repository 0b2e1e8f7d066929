"""Pixel maps behind a linear decoder, where their truth is a matrix product."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from genuq.errors import ConfigurationError
from genuq.models import Autoencoder, GenerativeModel
from genuq.networks import UNet
from genuq.propagators import pixel_map


class Linear(Autoencoder):
    """Images (1, 8, 8) are a fixed matrix times latents (1, 4, 4)."""

    def __init__(self) -> None:
        super().__init__()
        source = torch.Generator().manual_seed(0)
        self.matrix = nn.Parameter(0.1 * torch.randn(64, 16, generator=source), requires_grad=False)

    def latent_shape(self, image_shape):
        return (1, 4, 4)

    def decode(self, latents):
        return (latents.flatten(1) @ self.matrix.T).reshape(-1, 1, 8, 8)


def latent_model() -> GenerativeModel:
    return GenerativeModel(UNet((1, 4, 4), channels=(8,)), (1, 8, 8), autoencoder=Linear())


def moments(shape=(3, 1, 4, 4)) -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(1)
    return (
        0.3 * torch.randn(shape, generator=source, dtype=torch.float64),
        0.01 * torch.rand(shape, generator=source, dtype=torch.float64),
    )


@pytest.mark.parametrize("method", ["draws", "linear"])
def test_of_a_linear_decoder_is_the_matrix_product(method):
    model, (mean, variance) = latent_model(), moments()
    expected = (variance.flatten(1) @ model.autoencoder.matrix.double().square().T).sqrt().reshape(3, 1, 8, 8)
    found = pixel_map(model, mean, variance, method, draws=600)
    torch.testing.assert_close(found, expected, rtol=0.15, atol=0)
    assert float(found.mean() / expected.mean()) == pytest.approx(1, abs=0.01)
    assert found.dtype == torch.float64


@pytest.mark.parametrize("method", ["draws", "linear"])
def test_an_image_has_its_map_in_any_batch(method):
    model, (mean, variance) = latent_model(), moments()
    whole = pixel_map(model, mean, variance, method, draws=4, indices=[7, 8, 9])
    torch.testing.assert_close(
        pixel_map(model, mean, variance, method, 4, 0, [7, 8, 9], batch_size=2), whole, rtol=1e-3, atol=0
    )
    torch.testing.assert_close(
        pixel_map(model, mean[1:2], variance[1:2], method, 4, indices=[8]), whole[1:2], rtol=1e-3, atol=0
    )


def test_of_a_pixel_model_is_the_deviation_itself():
    model = GenerativeModel(UNet((1, 8, 8), channels=(8,)), (1, 8, 8))
    mean, variance = moments((2, 1, 8, 8))
    assert torch.equal(pixel_map(model, mean, variance), variance.sqrt())


def test_refusals():
    model, (mean, variance) = latent_model(), moments()
    with pytest.raises(ConfigurationError, match=r"method = 'jvp'; choose draws or linear"):
        pixel_map(model, mean, variance, "jvp")
    with pytest.raises(ConfigurationError, match=r"draws = 1; at least 2"):
        pixel_map(model, mean, variance, draws=1)
    with pytest.raises(ConfigurationError, match=r"1 of 48 variances are negative.*propagator=corrected"):
        variance[0, 0, 0, 0] = -1e-9
        pixel_map(model, mean, variance)
