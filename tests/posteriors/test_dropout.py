"""MC dropout as weight draws, against dropout itself."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from genuq.errors import ConfigurationError
from genuq.models import GenerativeModel
from genuq.networks import UNet
from genuq.posteriors import Scale, swapped
from genuq.posteriors.dropout import MCDropout, fed_by_dropout
from support.layer_oracles import case, plain_batch, plain_model
from support.posterior_oracles import in_double

SCALE = Scale(n_effective=1, observation_noise=1.0, prior_precision=1.0)
DRAWS = 4000


def layer_and_features(kind):
    torch.manual_seed(0)
    if kind == "linear":
        return nn.Linear(6, 3).double(), torch.randn(2, 6, dtype=torch.float64)
    return nn.Conv2d(6, 3, 3, padding=1).double(), torch.randn(2, 6, 4, 4, dtype=torch.float64)


@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_a_draw_is_the_layer_behind_dropped_inputs(kind):
    layer, features = layer_and_features(kind)
    posterior = MCDropout(nn.Sequential(layer), layers="0", rate=0.4).finalise(SCALE)
    kept = 0
    for index in range(20):
        draw = posterior.draw(index)
        factor_C = (draw["0.weight"] / layer.weight).detach().transpose(0, 1).flatten(1)
        assert torch.allclose(factor_C, factor_C[:, :1].expand_as(factor_C))
        shape = (1, 6) if kind == "linear" else (1, 6, 1, 1)
        wanted = layer(features * factor_C[:, 0].reshape(shape))
        with swapped(posterior.module, draw):
            assert torch.allclose(layer(features), wanted)
        assert all(min(abs(value), abs(value - 1 / 0.6)) < 1e-12 for value in factor_C[:, 0].tolist())
        kept += int((factor_C[:, 0] > 0).sum())
    assert 50 < kept < 94  # 72 of 120 expected, standard deviation 5.4


@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_the_outputs_have_the_moments_of_dropout(kind):
    """nn.Dropout on flat features, nn.Dropout2d on maps."""
    layer, features = layer_and_features(kind)
    posterior = MCDropout(nn.Sequential(layer), layers="0", rate=0.4).finalise(SCALE)
    dropout = (nn.Dropout(0.4) if kind == "linear" else nn.Dropout2d(0.4)).train()
    row = features[:1]
    with torch.no_grad():
        dropped = layer(dropout(row.expand(DRAWS, *row.shape[1:]))).flatten(1)
        ours = []
        for index in range(DRAWS):
            with swapped(posterior.module, posterior.draw(index)):
                ours.append(layer(row).flatten())
    ours = torch.stack(ours)
    spread = dropped.var(0) + ours.var(0)
    assert ((ours.mean(0) - dropped.mean(0)).abs() < 5 * (spread / DRAWS).sqrt()).all()
    assert ((ours.var(0) / dropped.var(0)).log().abs() < 0.2).all()


@pytest.mark.parametrize("temperature", [1.0, 0.09])
def test_the_stated_sizes_are_those_of_the_draws(temperature):
    layer, _ = layer_and_features("conv")
    posterior = MCDropout(nn.Sequential(layer), layers="0", rate=0.25)
    posterior.finalise(Scale(1, 1, 1, temperature))
    draws = torch.stack([posterior.draw(index)["0.weight"] for index in range(DRAWS)])
    moved = draws - layer.weight.detach()
    assert posterior.mean_variance() == pytest.approx(float(moved.square().mean()), rel=0.1)
    assert float(moved.mean(0).abs().max()) < 5 * (temperature / 3 / DRAWS) ** 0.5 * float(
        layer.weight.detach().abs().max()
    )
    assert posterior.relative_perturbation() == pytest.approx((temperature / 3) ** 0.5)


def test_draws_are_keyed_by_layer_and_come_back_from_a_file(tmp_path):
    model, _ = case("unet")
    both = MCDropout(model.network, layers=["entry", "head"], rate=0.5).finalise(SCALE)
    alone = MCDropout(model.network, rates={"head": 0.5}).finalise(SCALE)
    both.draw(1)
    assert torch.equal(both.draw(3, seed=1)["head.weight"], alone.draw(3, seed=1)["head.weight"])
    assert not torch.equal(both.draw(4, seed=1)["head.weight"], alone.draw(3, seed=1)["head.weight"])
    both.save(tmp_path / "posterior")
    back = MCDropout.load(tmp_path / "posterior", case("unet")[0].network)
    drawn, wanted = back.draw(3), both.draw(3)
    assert back.rates == {"entry": 0.5, "head": 0.5}
    assert all(torch.equal(drawn[name], wanted[name]) for name in wanted)


# Which layers a network's own dropout feeds -------------------------------------------------------------------------


def test_our_unets_dropout_feeds_the_second_convolution_of_each_block():
    torch.manual_seed(0)
    network = UNet((1, 8, 8), channels=(8, 16), dropout=0.15).double()
    model = GenerativeModel(network, (1, 8, 8), call=in_double, head="head")
    modes = [module.training for module in model.modules()]
    rates = fed_by_dropout(model, torch.randn(2, 1, 8, 8), torch.rand(2), None)
    assert rates == {name: 0.15 for name, _ in network.named_modules() if name.endswith("conv_out")}
    assert modes == [module.training for module in model.modules()]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    MCDropout(network, rates=rates).finalise(SCALE).draw(0)


class Dropped(nn.Module):
    """Dropout in front of one layer, behind another, and beside a third that takes the same values undropped."""

    def __init__(self):
        super().__init__()
        self.first, self.beside, self.second = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(8, 4)
        self.drop, self.last, self.idle = nn.Dropout(0.3), nn.Dropout(0.2), nn.Dropout(0.0)

    def forward(self, x):
        h = self.first(self.idle(x)).relu()
        beside = self.beside(h)
        dropped = self.drop(h)
        folded = self.second(dropped.reshape(len(x) // 2, 8)).reshape(-1, 2)
        return self.last(beside) + folded.repeat(1, 2)


def test_only_what_dropout_feeds_is_found():
    torch.manual_seed(0)
    model, batch = plain_model(Dropped().double(), (4,)), plain_batch((4,))
    assert fed_by_dropout(model, *batch) == {"second": 0.3}


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (nn.Sequential(nn.Linear(4, 4)), "has no nn.Dropout with a rate above 0. Set posterior.layers"),
        (nn.Sequential(nn.Dropout(0.0), nn.Linear(4, 4)), "has no nn.Dropout"),
        (nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.1)), r"straight from a dropout layer \(1\)"),
        (nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.1), nn.Tanh(), nn.Linear(4, 4)), "straight from a dropout"),
    ],
)
def test_networks_without_dropout_in_front_of_a_layer_are_refused(network, said):
    with pytest.raises(ConfigurationError, match=said):
        fed_by_dropout(plain_model(network.double(), (4,)), *plain_batch((4,)))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, r"set posterior\.layers and posterior\.rate"),
        ({"layers": "head"}, r"set posterior\.layers and posterior\.rate"),
        ({"layers": "head", "rate": 1.0}, r"posterior\.rate = 1\.0 of layer 'head'"),
        ({"layers": "head", "rate": 0.0}, r"posterior\.rate = 0\.0"),
        ({"layers": "haed", "rate": 0.1}, r"'haed' matches no .* Did you mean 'head'"),
        ({"rates": {"norm": 0.1}}, r"posterior\.rates = 'norm' is a GroupNorm"),
        ({"rates": {}}, r"posterior\.rates = \[\] leaves no layer"),
    ],
)
def test_what_cannot_be_dropped_is_refused_by_name(options, said):
    with pytest.raises(ConfigurationError, match=said):
        MCDropout(case("unet")[0].network, **options)
