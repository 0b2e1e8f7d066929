"""Gram matrices summed over batches: whatever they are split into, whatever size the maps have, in either precision."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from genuq.posteriors.curvature.gram_sums import summed
from genuq.posteriors.curvature.layer_geometry import geometry_of
from support.posterior_oracles import relative_error

LAYERS = {
    "3x3": lambda: nn.Conv2d(6, 4, 3, padding=1),
    "5x3, no bias": lambda: nn.Conv2d(6, 4, (5, 3), padding=(2, 0), bias=False),
    "1x1": lambda: nn.Conv2d(6, 4, 1),
    "stride": lambda: nn.Conv2d(6, 4, 3, padding=1, stride=2),
}


def unfolded(layer: nn.Conv2d, features: torch.Tensor) -> torch.Tensor:
    patches = F.unfold(features.double(), layer.kernel_size, padding=layer.padding, stride=layer.stride)
    a_BKP = patches if layer.bias is None else F.pad(patches, (0, 0, 0, 1), value=1.0)
    return torch.einsum("bkp,blp->kl", a_BKP, a_BKP)


@pytest.mark.parametrize("name", LAYERS)
def test_batches_and_sizes_add_up(name: str) -> None:
    torch.manual_seed(0)
    layer, images, larger = LAYERS[name](), torch.randn(7, 6, 8, 9), torch.randn(2, 6, 11, 8)
    sums = geometry_of(layer).gram_sums()
    for part in (*images.split(3), larger):
        sums.add(part)
    assert relative_error(sums.matrix(), unfolded(layer, images) + unfolded(layer, larger)) < 1e-13
    sums.add(larger)  # what was asked for goes on being added to
    assert relative_error(sums.matrix(), unfolded(layer, images) + 2 * unfolded(layer, larger)) < 1e-13


@pytest.mark.parametrize("name", LAYERS)
def test_what_was_added_goes_on_to_the_same_bits(name: str) -> None:
    torch.manual_seed(0)
    geometry, images, larger = geometry_of(LAYERS[name]()), torch.randn(6, 6, 8, 9), torch.randn(2, 6, 11, 8)
    whole, half, rest = (geometry.gram_sums() for _ in range(3))
    for part in (images[:2], larger, images[2:]):
        whole.add(part)
    half.add(images[:2])
    half.add(larger)
    state = half.state()
    half.add(larger)  # what was given does not change any more
    rest.load(state)
    rest.add(images[2:])
    assert torch.equal(rest.matrix(), whole.matrix()) and not any("/" in key for key in state)


@pytest.mark.parametrize("name", LAYERS)
def test_single_precision_products_are_as_good_as_the_values(name: str) -> None:
    torch.manual_seed(0)
    layer, images = LAYERS[name](), F.silu(torch.randn(9, 6, 12, 12))
    sums = geometry_of(layer).gram_sums(torch.float32)
    for part in images.split(2):
        sums.add(part)
    found, wanted = sums.matrix(), unfolded(layer, images)
    assert found.dtype == torch.float64
    assert relative_error(found, wanted) < 1e-6 and relative_error(found.diagonal(), wanted.diagonal()) < 1e-6


def test_tokens_of_a_linear_layer() -> None:
    torch.manual_seed(0)
    layer, tokens = nn.Linear(5, 3), torch.randn(4, 7, 5)
    a_PK = F.pad(tokens.double().flatten(0, 1), (0, 1), value=1.0)
    for products, tolerance in ((torch.float64, 1e-14), (torch.float32, 1e-6)):
        sums = geometry_of(layer).gram_sums(products)
        sums.add(tokens[:3])
        sums.add(tokens[3:])
        assert relative_error(sums.matrix(), a_PK.T @ a_PK) < tolerance


def test_maps_are_summed_in_double_precision() -> None:
    maps = torch.full((3, 2, 4, 4), 0.1)
    assert torch.equal(summed(maps), maps.double().sum(0)) and summed(maps, torch.square).dtype == torch.float64
