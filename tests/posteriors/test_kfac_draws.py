"""Draws of KFAC against what it states, within Monte-Carlo error; sums that add up; files."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from genuq.errors import ArtefactError, ConfigurationError, NonFiniteError
from genuq.posteriors import Scale, swapped
from genuq.posteriors.kfac import KFACLaplace
from support.layer_oracles import case, feed, kronecker, part, plain_batch, plain_model, square
from support.posterior_oracles import relative_error

SCALE = Scale(n_effective=40, observation_noise=0.3, prior_precision=0.7, temperature=2.0)
DRAWS = 20_000
STANDARD_ERRORS = 5


def small():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 2, 2, padding=1, stride=2), nn.Tanh(), nn.Flatten(), nn.Linear(18, 3, bias=False)
    ).double()
    return plain_model(network, (1, 5, 5)), plain_batch((1, 5, 5), images=6)


def fitted(layers="all", rows=slice(None), **options):
    model, batch = small()
    posterior = KFACLaplace(model.network, layers, **options)
    feed(posterior, model, part(batch, rows))
    return posterior


def test_the_draws_have_the_stated_mean_and_covariance():
    posterior = fitted().finalise(SCALE)
    drawn = [posterior.draw(index) for index in range(DRAWS)]
    draws = {name: torch.stack([draw[name] for draw in drawn]).flatten(1) for name in drawn[0]}
    joined = {"0": torch.cat([draws["0.weight"].reshape(DRAWS, 2, 4), draws["0.bias"][..., None]], 2).flatten(1)}
    joined["3"] = draws["3.weight"]
    for name, rows in joined.items():
        stated = square(posterior.covariance(name))
        precision = square(kronecker(posterior, name)) * 40 / 6 / 2.0 / 0.3
        wanted = torch.linalg.inv(precision + 0.7 * torch.eye(len(precision), dtype=torch.float64))
        assert relative_error(stated, wanted) < 1e-10
        assert relative_error(posterior.variance(name).flatten(), wanted.diagonal()) < 1e-10
        variances = stated.diagonal()
        trained = posterior.means[name].flatten()
        assert ((rows.mean(0) - trained).abs() < STANDARD_ERRORS * (variances / DRAWS).sqrt()).all()
        error = ((variances[:, None] * variances + stated**2) / DRAWS).sqrt()
        assert ((rows.T.cov() - stated).abs() < STANDARD_ERRORS * error).all()
    cross = torch.corrcoef(torch.cat(list(joined.values()), 1).T)[:10, 10:]
    assert cross.abs().max() < STANDARD_ERRORS / DRAWS**0.5


def test_the_sizes_are_those_of_the_covariance():
    posterior = fitted().finalise(SCALE)
    diagonals = [square(posterior.covariance(name)).diagonal() for name in posterior.layer_names]
    assert posterior.mean_variance() == pytest.approx(float(torch.cat(diagonals).mean()), rel=1e-10)
    sizes = posterior.squared_deviations()
    assert sizes["0.bias"] == pytest.approx(float(diagonals[0].reshape(2, 5)[:, 4].mean()), rel=1e-10)
    assert sizes["3.weight"] == pytest.approx(float(diagonals[1].mean()), rel=1e-10)
    assert set(sizes) == {"0.weight", "0.bias", "3.weight"} == set(posterior.covered())


def test_a_draw_is_the_same_whatever_else_was_drawn_and_covered():
    both, alone = fitted().finalise(SCALE), fitted("3").finalise(SCALE)
    for index in (3, 9):
        both.draw(index, seed=4)
    torch.manual_seed(123)
    first, second = both.draw(7, seed=4), alone.draw(7, seed=4)
    assert torch.equal(first["3.weight"], second["3.weight"])
    assert not torch.equal(both.draw(8, seed=4)["0.bias"], first["0.bias"])
    assert not torch.equal(both.draw(7, seed=5)["0.bias"], first["0.bias"])


@pytest.mark.parametrize("approximation", ["expand", "reduce"])
def test_shards_add_up_in_any_order(approximation):
    whole = fitted(approximation=approximation)
    shards = [fitted(rows=rows, approximation=approximation) for rows in (slice(0, 1), slice(1, 3), slice(3, 6))]
    for order in ((0, 1, 2), (2, 0, 1)):
        first = KFACLaplace(small()[0].network, approximation=approximation)
        for number in order:
            first.merge(shards[number])
        assert first.n_seen == 6
        for key, value in whole.sums().items():
            assert relative_error(first.sums()[key], value) < 1e-12
        drawn, wanted = first.finalise(SCALE).draw(1), whole.finalise(SCALE).draw(1)
        assert all(relative_error(drawn[name], wanted[name]) < 1e-9 for name in wanted)
    assert shards[0].n_seen == 1 and shards[1].n_seen == 2


def test_only_alike_posteriors_are_merged():
    posterior = fitted()
    for other in (fitted("0"), fitted(approximation="reduce")):
        with pytest.raises(ConfigurationError, match="same kind, options"):
            posterior.merge(other)


def test_a_file_brings_back_the_same_draws(tmp_path):
    posterior = fitted("[03]", approximation="reduce").finalise(SCALE)
    posterior.save(tmp_path / "posterior")
    network = small()[0].network.requires_grad_(False)
    back = KFACLaplace.load(tmp_path / "posterior", network)
    assert back.options() == {"layers": ["0", "3"], "approximation": "reduce"} and back.scale == SCALE
    for index in (0, 5):
        first, second = posterior.draw(index, seed=1), back.draw(index, seed=1)
        assert list(first) == list(second) and all(torch.equal(first[name], second[name]) for name in first)


def test_a_file_over_some_layers_does_not_care_which_layers_train(tmp_path):
    posterior = fitted("3").finalise(SCALE)
    posterior.save(tmp_path / "posterior")
    network = small()[0].network
    network[3].requires_grad_(False)
    assert KFACLaplace.load(tmp_path / "posterior", network).layer_names == ["3"]


def test_another_networks_file_is_refused(tmp_path):
    fitted().save(tmp_path / "posterior")
    changed = small()[0].network
    changed[0].weight.data[0, 0, 0, 0] += 1
    for network in (changed, nn.Sequential(nn.Linear(2, 2))):
        with pytest.raises(ArtefactError, match="another network"):
            KFACLaplace.load(tmp_path / "posterior", network)


def test_a_draw_within_other_weights_starts_from_the_trained_ones():
    posterior = fitted().finalise(SCALE)
    wanted = posterior.draw(2)
    with swapped(posterior.module, posterior.draw(1)):
        again = posterior.draw(2)
    assert all(torch.equal(again[name], wanted[name]) for name in wanted)


def test_another_scale_starts_from_the_sums_and_new_data_void_it():
    posterior = fitted().finalise(SCALE)
    wide = posterior.rescaled(temperature=200.0).squared_deviations()
    assert all(wide[name] > value for name, value in posterior.rescaled(temperature=2.0).squared_deviations().items())
    posterior.merge(fitted())
    with pytest.raises(ConfigurationError, match="finalise"):
        posterior.draw(0)
    assert posterior.finalise(SCALE).squared_deviations() == pytest.approx(
        fitted().finalise(SCALE).squared_deviations(), rel=1e-9
    )


class Cut(nn.Module):
    """Its second branch never reaches the prediction."""

    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, x):
        return self.used(x) + self.unused(x).detach()


def test_a_layer_that_no_gradient_reaches_keeps_its_prior():
    torch.manual_seed(0)
    model = plain_model(Cut().double(), (3,))
    posterior = KFACLaplace(model.network)
    feed(posterior, model, plain_batch((3,)))
    assert posterior.layers_without_curvature() == ["unused"]
    assert posterior.finalise(SCALE).squared_deviations()["unused.weight"] == pytest.approx(1 / 0.7)


def test_broken_sums_and_precisions_are_refused_by_name():
    posterior = fitted()
    with pytest.raises(ConfigurationError, match="precision of layer '0'"):
        posterior.finalise(Scale(1e308, 1e-300, 1.0))
    sums = posterior.sums()
    sums["inputs/3"] = sums["inputs/3"] * float("nan")
    posterior.restore(sums, 6)
    with pytest.raises(NonFiniteError, match="summed inputs/3"):
        posterior.finalise(SCALE)


def test_no_scale_without_data_and_no_update_without_gradients():
    model, _ = small()
    with pytest.raises(ConfigurationError, match="seen no data"):
        KFACLaplace(model.network).finalise(SCALE)
    with pytest.raises(ConfigurationError, match="output gradients"):
        KFACLaplace(model.network).update({"0": torch.zeros(1, 1, 5, 5)})


def test_no_closed_form_over_more_than_the_head():
    posterior = fitted().finalise(SCALE)
    assert not posterior.closed_form and fitted("3").closed_form and not fitted("0").closed_form
    with pytest.raises(ConfigurationError, match="no closed-form"):
        posterior.predictive_variance(torch.zeros(1, 18))


def test_an_unknown_approximation_is_refused():
    with pytest.raises(ConfigurationError, match=r"posterior\.approximation = 'expnd'.*Did you mean 'expand'"):
        KFACLaplace(small()[0].network, approximation="expnd")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_draws_take_the_precision_of_the_network(dtype):
    model, (x, t_B, y_B) = small()
    model.network.to(dtype)
    posterior = KFACLaplace(model.network)
    feed(posterior, model, (x.to(dtype), t_B, y_B), torch.randn(6, 3, dtype=dtype))
    draw = posterior.finalise(SCALE).draw(0)
    assert {value.dtype for value in draw.values()} == {dtype}
    assert {value.dtype for value in posterior.sums().values()} == {torch.float64}


def test_a_draw_changes_our_networks_predictions():
    model, batch = case("unet")
    posterior = KFACLaplace(model.network, ["up.*", "head"])
    feed(posterior, model, batch, torch.randn(4, *model.shape, dtype=torch.float64))
    posterior.finalise(SCALE)
    trained = model(*batch).detach()
    with swapped(model.network, posterior.draw(0)):
        assert relative_error(model(*batch).detach(), trained) > 0.01
    assert torch.equal(model(*batch), trained)
