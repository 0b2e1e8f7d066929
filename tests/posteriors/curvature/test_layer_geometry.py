"""Convolutions with strides and dilations as linear maps, against the layer itself, explicit patches and autograd."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from genuq.posteriors.curvature.head import ConvHead, LinearHead
from genuq.posteriors.curvature.layer_geometry import UnfoldedConv, geometry_of, obstacle
from support.posterior_oracles import relative_error

LAYERS = {
    "stride": lambda: nn.Conv2d(2, 3, 3, stride=2, padding=1),
    "dilation": lambda: nn.Conv2d(2, 3, 3, dilation=2, padding=2, bias=False),
    "neither square": lambda: nn.Conv2d(2, 3, (3, 1), stride=(2, 3), padding=(0, 2), dilation=(2, 1)),
    "same": lambda: nn.Conv2d(2, 3, 2, dilation=3, padding="same"),
}


def case(name: str) -> tuple[nn.Conv2d, UnfoldedConv, torch.Tensor]:
    torch.manual_seed(0)
    layer = LAYERS[name]().double()
    geometry = geometry_of(layer)
    assert isinstance(geometry, UnfoldedConv)
    return layer, geometry, torch.randn(4, 2, 7, 6, dtype=torch.float64)


@pytest.mark.parametrize("name", LAYERS)
def test_the_layer_is_its_matrix_times_its_patches(name):
    layer, geometry, x = case(name)
    with torch.no_grad():
        assert relative_error(geometry.project(x, geometry.matrix()), layer(x)) < 1e-12


@pytest.mark.parametrize("name", LAYERS)
def test_the_gram_matrix_is_that_of_the_layers_jacobian(name):
    """One output channel's derivative by its own weights, position by position, from autograd."""
    layer, geometry, x = case(name)
    rows = []
    for value in layer(x)[:, 0].flatten():
        gradients = torch.autograd.grad(value, list(layer.parameters()), retain_graph=True)
        rows.append(torch.cat([gradient[0].flatten() for gradient in gradients]))
    jacobian = torch.stack(rows)
    assert relative_error(geometry.gram(x), jacobian.T @ jacobian) < 1e-12


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_of_each_image_are_autograds(name):
    layer, geometry, x = case(name)
    residuals = torch.randn_like(layer(x).detach())
    found = geometry.gradients(x, residuals)
    for image, residual, gradient in zip(x, residuals, found):
        wanted = torch.autograd.grad((layer(image[None]) * residual).sum(), list(layer.parameters()))
        assert relative_error(gradient, geometry.flattened(dict(zip(("weight", "bias"), wanted)))) < 1e-12


def test_plain_layers_keep_the_faster_geometry_of_heads():
    assert type(geometry_of(nn.Conv2d(2, 3, 3))) is ConvHead and type(geometry_of(nn.Linear(2, 3))) is LinearHead


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (nn.GroupNorm(1, 2), "is a GroupNorm, not a Conv2d or Linear"),
        (spectral_norm(nn.Linear(2, 2)), "remove the parametrisation first"),
        (nn.Conv2d(2, 2, 3, groups=2), "groups=2"),
        (nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"), "padding_mode=circular"),
    ],
)
def test_obstacles_are_named_with_what_is_needed(layer, said):
    assert said in obstacle(layer)
    assert obstacle(nn.Conv2d(2, 2, 3, stride=2)) is None
