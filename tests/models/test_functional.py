"""Layers that make their weight in every pass become plain ones of that weight, with the same answers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from genuq.errors import ConfigurationError
from genuq.models import evaluating, is_plain, may_make_its_weight, traced_head, with_plain_layers
from genuq.models.functional import OnePass
from support.magnitude_preserving import SHAPE, magnitude_preserving


def passes(dtype: torch.dtype = torch.float32) -> list[OnePass]:
    return [_pass(seed, dtype) for seed in (0, 1)]


def _pass(seed: int, dtype: torch.dtype) -> OnePass:
    source = torch.Generator().manual_seed(seed)
    x = torch.randn(2, *SHAPE, generator=source).to(dtype)
    sigma = torch.rand(2, generator=source).add(0.1).to(dtype)
    return lambda network: network(x, sigma, torch.eye(4, dtype=dtype)[[seed % 4, 2]])


@torch.no_grad()
def test_magnitude_preserving_layers_become_plain_and_answers_stay_bit_for_bit() -> None:
    network = magnitude_preserving()
    plain = with_plain_layers(network, passes(), needed="unet.last")
    named = {name for name, layer in plain.named_modules() if is_plain(layer)}
    assert named == {"logvar", *(f"unet.{name}" for name in ("of_noise", "of_class", "first", "middle", "emb", "last"))}
    for one_pass in [*passes(), _pass(5, torch.float32)]:
        assert torch.equal(one_pass(plain), one_pass(network))
    weight = network.unet.last.weight
    rows = weight / (weight.flatten(1).norm(dim=1)[:, None, None, None] + 1e-4)  # of norm one
    assert torch.allclose(plain.get_submodule("unet.last").weight, rows * network.unet.out_gain, rtol=1e-5)
    assert plain.unet.frequencies is not network.unet.frequencies and not is_plain(network.unet.last)


def shown(*shape: int) -> list[OnePass]:
    """Passes of a network at two random inputs."""
    source = torch.Generator().manual_seed(0)
    given = [torch.randn(shape, generator=source) for _ in range(2)]
    return [lambda network, x=x: network(x) for x in given]  # type: ignore[misc]


def parametrised() -> nn.Module:
    return nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 3, 3, padding=1, stride=2))


class Standardised(nn.Conv2d):
    """Weight standardisation."""

    def forward(self, input: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return functional.conv2d(input, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Equalised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(3, 8)), nn.Parameter(torch.randn(3))

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight / 8**0.5, bias=self.bias)


@pytest.mark.parametrize("make", [parametrised, lambda: Standardised(3, 6, 3, groups=3, bias=False), Equalised])
@torch.no_grad()
def test_other_kinds_of_weights_that_are_made(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 3, 1), make())
    own = network[0].weight
    tried = [
        lambda each, seed=seed: each(torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed)))
        for seed in (0, 1)
    ]
    plain = with_plain_layers(network.eval(), tried, needed="1")
    assert is_plain(plain.get_submodule("1")) and not is_plain(network[1])
    assert plain.get_submodule("0").weight is own
    assert all(torch.equal(each(plain), each(network)) for each in tried)


class Told(Equalised):
    """Its weight changes with what it is shown."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight * x.mean())


class Shifted(Equalised):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1


class Twice(Equalised):
    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(functional.linear(x, self.weight), self.weight.T)


class Foreign(Equalised):
    def forward(self, x: Tensor) -> Tensor:
        return x @ torch.ones(8, 5)


@pytest.mark.parametrize(
    "kind, said",
    [
        (Told, "has another weight in every pass"),
        (Shifted, "changes what its convolution or matrix product gives"),
        (Twice, "computes something else than one convolution"),
        (Foreign, "multiplies by what is no weight of its own"),
    ],
)
def test_a_layer_that_no_plain_one_replaces_is_named_with_the_reason_and_what_to_do(
    kind: type[nn.Module], said: str
) -> None:
    network = nn.Sequential(nn.Linear(8, 8), kind())
    tried = [
        lambda each, seed=seed: each(torch.randn(2, 8, generator=torch.Generator().manual_seed(seed)))
        for seed in (0, 1)
    ]
    assert traced_head(network, lambda: tried[0](network)) == "1"
    with pytest.raises(
        ConfigurationError, match=rf"'1', a {kind.__name__}, which .*{said}.*Give the network an nn\.Conv2d"
    ):
        with_plain_layers(network, tried, needed="1")
    assert with_plain_layers(network, tried) is network


def test_a_network_of_plain_layers_comes_back_itself() -> None:
    network = nn.Sequential(nn.Embedding(3, 4), nn.Linear(4, 4), nn.LayerNorm(4))
    assert not any(may_make_its_weight(layer) for layer in network)
    assert with_plain_layers(network, [lambda each: each(torch.tensor([1]))]) is network


def test_states_in_double_precision_give_the_same() -> None:
    network = magnitude_preserving()
    with torch.no_grad(), evaluating(network):
        plain = with_plain_layers(network, passes(torch.float64))
        assert all(torch.equal(each(plain), each(network)) for each in passes(torch.float64))
        assert {value.dtype for value in plain.parameters()} == {torch.float32}
