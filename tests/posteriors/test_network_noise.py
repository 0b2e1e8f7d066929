"""Noise over a whole network, and the trained network alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from genuq.errors import ConfigurationError
from genuq.posteriors import ExactLastLayerLaplace, Scale, swapped
from genuq.posteriors.curvature.capture import head_features
from genuq.posteriors.dataless import MAP
from genuq.posteriors.dropout import MCDropout
from genuq.posteriors.kfac import KFACLaplace
from genuq.posteriors.network_noise import NetworkNoise
from genuq.posteriors.subnetwork import SubnetworkLaplace
from support.layer_oracles import case, feed

SCALE = Scale(n_effective=40, observation_noise=0.3, prior_precision=4.0, temperature=2.0)
DRAWS = 500


def sampled_deviations(posterior):
    """Mean square of the deviations of each parameter, over draws."""
    trained = {name: value.detach() for name, value in posterior.covered().items()}
    sampled = [posterior.draw(index, seed=3) for index in range(DRAWS)]
    return {
        name: float(torch.stack([(draw[name] - value).square().mean() for draw in sampled]).mean())
        for name, value in trained.items()
    }


def test_the_draws_are_normal_with_the_priors_variance_in_each_parameter():
    model, _ = case("mlp")
    noise = NetworkNoise(model.network).finalise(SCALE)
    assert set(noise.covered()) == {name for name, _ in model.network.named_parameters()}
    moved = torch.cat(
        [
            torch.cat([(value - model.network.get_parameter(name)).detach().flatten() for name, value in draw.items()])
            for draw in (noise.draw(index) for index in range(40))
        ]
    )
    standardised = (moved * 4.0**0.5).sort().values
    normal = torch.distributions.Normal(0.0, 1.0).cdf(standardised)
    ranks = (torch.arange(len(normal)) + 0.5) / len(normal)
    assert float((normal - ranks).abs().max()) < 1.95 / len(normal) ** 0.5  # Kolmogorov-Smirnov, p = 0.001
    assert noise.mean_variance() == 0.25


FAMILIES = {
    "kfac": lambda network: KFACLaplace(network, ["entry", "layers.*"]),
    "subnetwork": lambda network: SubnetworkLaplace(network, fraction=0.3),
}


@pytest.mark.parametrize("family", [*FAMILIES, "head", "dropout", "noise"])
def test_matched_noise_moves_each_parameter_as_far_as_the_other_posterior(family):
    model, batch = case("mlp", images=6)
    if family == "head":
        other = ExactLastLayerLaplace(model.head)
        other.update(head_features(model, *batch)[1])
        prefix, settings = "head.", {"draws": 2000}
    else:
        prefix, settings = "", {}
        if family == "dropout":
            other = MCDropout(model.network, layers="layers.*", rate=0.3)
        elif family == "noise":
            other = NetworkNoise(model.network, "condition.*")
        else:
            other = FAMILIES[family](model.network)
            feed(other, model, batch)
    other.finalise(SCALE)
    matched = NetworkNoise(model.network).matched_to(other, **settings).finalise(Scale(1, 1, 123.0))
    stated, wanted, found = matched.squared_deviations(), sampled_deviations(other), sampled_deviations(matched)
    assert stated.keys() == found.keys() == {prefix + name for name in wanted}
    for name, value in wanted.items():
        entries = min(other.covered()[name].numel(), 16)  # dropout's masks have no more
        error = 5 * (2 / (0.3 * entries * DRAWS)) ** 0.5  # a subnetwork moves 0.3 of them
        assert stated[prefix + name] == pytest.approx(value, rel=error), name
        assert found[prefix + name] == pytest.approx(value, rel=2**0.5 * error), name


def test_matched_globally_all_move_alike():
    model, batch = case("mlp", images=6)
    other = KFACLaplace(model.network)
    feed(other, model, batch)
    other.finalise(SCALE)
    matched = NetworkNoise(model.network).matched_to(other, per_parameter=False).finalise(Scale(1, 1, 1))
    assert len(set(matched.squared_deviations().values())) == 1
    assert matched.mean_variance() == pytest.approx(other.mean_variance(), rel=1e-9)
    assert matched.relative_perturbation() == pytest.approx(other.relative_perturbation(), rel=1e-9)
    assert matched.rescaled(temperature=4.0).mean_variance() == pytest.approx(4 * other.mean_variance(), rel=1e-9)


def test_a_draw_of_a_parameter_does_not_depend_on_the_others():
    model, _ = case("mlp")
    whole, some = (NetworkNoise(model.network, p).finalise(SCALE) for p in ("all", ["head.*", "entry.bias"]))
    assert list(some.covered()) == ["entry.bias", "head.weight", "head.bias"]
    for _ in range(2):
        whole.draw(3)
    first, second = whole.draw(7, seed=2), some.draw(7, seed=2)
    assert all(torch.equal(first[name], value) for name, value in second.items())
    assert not torch.equal(whole.draw(8, seed=2)["head.bias"], first["head.bias"])


@pytest.mark.parametrize(
    "make", [lambda n: NetworkNoise(n, "layers.*"), lambda n: NetworkNoise(n, variances={"head.bias": 1 / 3}), MAP]
)
def test_files_bring_back_the_same_draws(make, tmp_path):
    model, _ = case("mlp")
    posterior = make(model.network).finalise(SCALE)
    posterior.save(tmp_path / "posterior")
    back = type(posterior).load(tmp_path / "posterior", case("mlp")[0].network)
    drawn, wanted = back.draw(3, seed=2), posterior.draw(3, seed=2)
    assert drawn.keys() == wanted.keys() and all(torch.equal(drawn[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"parameters": "hed.*"}, r"parameters = 'hed\.\*' matches no parameter. Did you mean 'head"),
        ({"parameters": []}, r"parameters is empty"),
        ({"variances": {"head.bias": -1.0}}, r"variances\['head\.bias'\] = -1\.0"),
        ({"variances": {"head.bais": 1.0}}, r"Did you mean 'head\.bias'"),
    ],
)
def test_what_cannot_be_is_refused_by_name(options, said):
    with pytest.raises(ConfigurationError, match=said):
        NetworkNoise(case("mlp")[0].network, **options)


def test_noise_takes_no_data_and_matches_no_other_network():
    model, _ = case("mlp")
    noise = NetworkNoise(model.network)
    with pytest.raises(ConfigurationError, match="not fitted to data"):
        noise.update(torch.zeros(1))
    with pytest.raises(ConfigurationError, match="finalise"):
        noise.draw(0)
    other = NetworkNoise(nn.Linear(2, 2)).finalise(SCALE)
    with pytest.raises(ConfigurationError, match="another network"):
        noise.matched_to(other)


def test_the_trained_network_alone_never_moves():
    model, batch = case("unet")
    posterior = MAP(model.network).finalise(SCALE)
    trained = model(*batch)
    with swapped(model.network, posterior.draw(5)):
        assert torch.equal(model(*batch), trained)
    assert posterior.relative_perturbation() == 0.0 == posterior.mean_variance()
