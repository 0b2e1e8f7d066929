"""KFAC where it is exact, against dense float64 matrices; elsewhere against curvlinops; its draws and its fit."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from curvlinops import KFACLinearOperator
from torch import nn

from genuq.errors import ArtefactError, ConfigurationError, NonFiniteError
from genuq.posteriors import Scale, ScaleOptions, fit, swapped
from genuq.posteriors.curvature.capture import fisher_gradients, head_features, layer_features, residual_gradients
from genuq.posteriors.fitting.held_out import ridge_of
from genuq.posteriors.fitting.passes import HeldOutPass
from genuq.posteriors.fitting.regression import RegressionBatch
from genuq.posteriors.fitting.scale import choose_temperature, maximise_evidence
from genuq.posteriors.kfac import KFACLaplace
from genuq.posteriors.subnetwork import SubnetworkLaplace
from support.layer_oracles import (
    case,
    exact_draws,
    feed,
    gauss_newton,
    kronecker,
    layer_jacobian,
    part,
    plain_batch,
    plain_model,
    square,
)
from support.posterior_oracles import HEADS, NETWORKS, head_case, network_case, relative_error

STRIDED = {
    "3x3, stride 2": lambda: nn.Conv2d(3, 2, 3, stride=2, padding=1),
    "3x3, stride (2, 1), no bias": lambda: nn.Conv2d(3, 2, 3, stride=(2, 1), bias=False),
    "3x3, dilation 2, same": lambda: nn.Conv2d(3, 2, 3, dilation=2, padding="same"),
    "2x3, stride 2, dilation (1, 2), padding (1, 0)": lambda: nn.Conv2d(
        3, 2, (2, 3), stride=2, dilation=(1, 2), padding=(1, 0)
    ),
}


@pytest.mark.parametrize("name", [*HEADS, *STRIDED])
def test_a_single_linear_layer_is_exact(name):
    if name in HEADS:
        layer, features = head_case(name)
    else:
        torch.manual_seed(0)
        layer, features = STRIDED[name]().double(), torch.randn(4, 3, 6, 7, dtype=torch.float64)
    batch = (features, torch.rand(4), None)
    model = plain_model(nn.Sequential(layer), tuple(features.shape[1:]))
    posterior = KFACLaplace(model.network)
    feed(posterior, model, batch)
    wanted = gauss_newton(layer_jacobian(model, "0", batch))
    assert relative_error(kronecker(posterior, "0"), wanted) < 1e-8


@pytest.mark.parametrize("name", NETWORKS)
def test_the_last_layer_is_exact_under_squared_error(name):
    model, batch = case(name)
    posterior = KFACLaplace(model.network, "head")
    feed(posterior, model, batch)
    wanted = gauss_newton(layer_jacobian(model, "head", batch))
    assert relative_error(kronecker(posterior, "head"), wanted) < 1e-8


def test_one_datum_without_weight_sharing_is_exact_in_every_layer():
    model, batch = case("mlp", images=1)
    posterior = KFACLaplace(model.network)
    assert len(posterior.layer_names) == 6
    feed(posterior, model, batch)
    for name in posterior.layer_names:
        wanted = gauss_newton(layer_jacobian(model, name, batch))
        assert relative_error(kronecker(posterior, name), wanted) < 1e-8, name


def test_a_deep_linear_network_is_exact_in_every_layer():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3), nn.Linear(3, 2)).double()
    model, batch = plain_model(network, (5,)), plain_batch((5,), images=7)
    posterior = KFACLaplace(network)
    feed(posterior, model, batch)
    for name in posterior.layer_names:
        wanted = gauss_newton(layer_jacobian(model, name, batch))
        assert relative_error(kronecker(posterior, name), wanted) < 1e-8


@pytest.mark.parametrize("approximation", ["expand", "reduce"])
def test_reduce_is_exact_before_a_mean_over_positions_and_expand_is_not(approximation):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)
    ).double()
    model, batch = plain_model(network, (2, 6, 6)), plain_batch((2, 6, 6))
    posterior = KFACLaplace(network, approximation=approximation)
    feed(posterior, model, batch)
    error = relative_error(kronecker(posterior, "0"), gauss_newton(layer_jacobian(model, "0", batch)))
    assert error < 1e-8 if approximation == "reduce" else error > 0.1


@pytest.mark.parametrize("approximation", ["expand", "reduce"])
def test_a_layer_without_weight_sharing_is_the_same_either_way(approximation):
    model, batch = case("mlp", images=5)
    one, other = KFACLaplace(model.network), KFACLaplace(model.network, approximation=approximation)
    feed(one, model, batch), feed(other, model, batch)
    for name in one.layer_names:
        assert relative_error(kronecker(one, name), kronecker(other, name)) < 1e-12


class Flat(nn.Module):
    """A model as curvlinops takes it: all inputs in one mapping, outputs (B, D)."""

    def __init__(self, model):
        super().__init__()
        self.network, self.call = model.network, model._call

    def forward(self, inputs):
        return self.call(self.network, inputs["x"], inputs["t"], inputs["y"]).flatten(1)


@pytest.mark.parametrize("approximation", ["expand", "reduce"])
@pytest.mark.parametrize("name", NETWORKS)
def test_all_layers_agree_with_curvlinops(name, approximation):
    """GroupNorm, strides and attention included. Its squared error is not halved: its curvature is twice ours.

    Errors are relative to the largest layer: a gradient summed over positions before a norm of one channel is zero.
    """
    model, (x, t_B, y_B) = case(name, images=3)
    posterior = KFACLaplace(model.network, approximation=approximation)
    for rows in (slice(0, 2), slice(2, 3)):
        feed(posterior, model, part((x, t_B, y_B), rows))
    flat = Flat(model)
    operator = KFACLinearOperator(
        flat,
        nn.MSELoss(reduction="sum"),
        [value for key, value in flat.named_parameters() if key.removeprefix("network.") in posterior.covered()],
        [({"x": x, "t": t_B, "y": y_B}, torch.zeros(3, x[0].numel(), dtype=torch.float64))],
        fisher_type="type-2",
        kfac_approx=approximation,
        separate_weight_and_bias=False,
        check_deterministic=False,
        batch_size_fn=lambda inputs: len(inputs["x"]),
    )
    torch.manual_seed(0)
    vector = [torch.randn_like(value) for value in posterior.covered().values()]
    wanted = dict(zip(posterior.covered(), operator @ vector))
    numbers = dict(zip(posterior.covered(), vector))
    largest = max(float(value.abs().max()) for value in wanted.values())
    for layer in posterior.layer_names:
        keys = [key for key in numbers if key.rpartition(".")[0] == layer]
        joined = torch.cat([numbers[key].reshape(len(numbers[key]), -1) for key in keys], 1)
        gram_KK, arrived_OO = posterior.factors(layer)
        for key, ours in posterior.heads[layer].parameters(2 * arrived_OO @ joined @ gram_KK).items():
            assert float((ours - wanted[f"{layer}.{key}"]).abs().max()) < 1e-8 * largest, (layer, key)


@pytest.mark.parametrize("name", NETWORKS)
def test_single_precision_factors_are_those_of_double_precision(name):
    """Values are multiplied in their own precision; what is added and decomposed is float64."""
    model, (x, t_B, y_B) = case(name, images=4)
    posterior, wanted = KFACLaplace(copy.deepcopy(model.network).float()), KFACLaplace(model.network)
    prediction, inputs, outputs = layer_features(model, wanted.layer_names, x, t_B, y_B)
    gradients = fisher_gradients(prediction, outputs, torch.randn_like(prediction)[None])
    rounded = ({key: value.float() for key, value in inputs.items()}, {k: v.float() for k, v in gradients.items()})
    for rows in (slice(0, 3), slice(3, 4)):
        posterior.update({k: v[rows] for k, v in rounded[0].items()}, {k: v[:, rows] for k, v in rounded[1].items()})
    wanted.update(*({key: value.double() for key, value in of.items()} for of in rounded))
    for layer in wanted.heads:
        for found, exact in zip(posterior.factors(layer), wanted.factors(layer)):
            assert found.dtype == torch.float64 and relative_error(found, exact) < 1e-6


def test_random_draws_tend_to_the_exact_fisher():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.Tanh(), nn.Conv2d(3, 1, 3, padding=1)).double()
    model, batch = plain_model(network, (1, 4, 4)), plain_batch((1, 4, 4))
    exact, sampled = KFACLaplace(network), KFACLaplace(network)
    feed(exact, model, batch)
    draws = 4000
    feed(sampled, model, batch, torch.randn(draws, 4, 1, 4, 4, dtype=torch.float64))
    wanted, found = exact.factors("0")[1], sampled.factors("0")[1]
    spread = (torch.outer(wanted.diagonal(), wanted.diagonal()) + wanted**2).sqrt() / draws**0.5
    assert ((found - wanted).abs() < 5 * spread).all()  # over images and positions the draws average further
    assert torch.equal(exact.factors("0")[0], sampled.factors("0")[0])


def test_the_exact_draws_have_the_identity_as_second_moment():
    numbers = exact_draws(torch.zeros(2, 1, 2, 3, dtype=torch.float64))
    moments = torch.einsum("sbi,sbj->bij", numbers.flatten(2), numbers.flatten(2)) / len(numbers)
    assert torch.allclose(moments, torch.eye(6, dtype=torch.float64).expand(2, 6, 6))


def test_the_spectrum_is_that_of_the_dense_curvature():
    model, batch = case("unet")
    posterior = KFACLaplace(model.network, ["entry", "down.1", "middle.1.*"])
    feed(posterior, model, batch)
    for name, (values, repeats) in zip(posterior.layer_names, posterior.spectrum()):
        dense = torch.linalg.eigvalsh(square(kronecker(posterior, name))).flip(0)
        assert relative_error(values.flatten().sort(descending=True).values, dense) < 1e-10 and repeats == 1
        assert posterior.curvature_trace(name) == pytest.approx(float(dense.sum()), rel=1e-10)
    sizes = [values.numel() for values, _ in posterior.spectrum()]
    total = sum(float(values.sum()) for values, _ in posterior.spectrum())
    assert posterior.mean_eigenvalue() == pytest.approx(total / sum(sizes), rel=1e-10)


def test_the_squared_norm_of_gradients_is_the_dense_one():
    model, batch = case("unet")
    posterior = KFACLaplace(model.network, ["entry", "down.1", "condition.time.1"])
    feed(posterior, model, batch)
    prediction, inputs, outputs = layer_features(model, posterior.layer_names, *batch)
    target = torch.randn_like(prediction)
    residual, gradients = residual_gradients(prediction, target, outputs)
    ridge = 0.01 * posterior.mean_eigenvalue()
    wanted = 0.0
    for name in posterior.layer_names:
        per_image = torch.einsum("bd,bdok->bok", residual.flatten(1), layer_jacobian(model, name, batch)).flatten(1)
        dense = square(kronecker(posterior, name))
        inverse = torch.linalg.inv(dense + ridge * torch.eye(len(dense), dtype=torch.float64))
        wanted += float(torch.einsum("bi,ij,bj->", per_image, inverse, per_image))
    assert posterior.mahalanobis(inputs, gradients, ridge) == pytest.approx(wanted, rel=1e-8)


def test_in_a_network_of_float32_the_squared_norm_is_that_of_float64_to_its_rounding():
    model, batch = case("unet")
    names = ["entry", "down.1", "condition.time.1"]
    exact, single = KFACLaplace(model.network, names), KFACLaplace(copy.deepcopy(model.network).float(), names)
    feed(exact, model, batch)
    single.restore(exact.sums(), exact.n_seen)
    prediction, inputs, outputs = layer_features(model, names, *batch)
    gradients = residual_gradients(prediction, torch.randn_like(prediction), outputs)[1]
    ridge = 1e-3 * exact.mean_eigenvalue()  # the fits' own
    wanted = exact.mahalanobis(inputs, gradients, ridge)
    assert single.mahalanobis(inputs, gradients, ridge) == pytest.approx(wanted, rel=1e-5)


def test_the_predictive_variance_of_the_head_alone_is_the_quadratic_form():
    model, batch = case("unet")
    posterior = KFACLaplace(model.network, "head")
    feed(posterior, model, batch, torch.randn(4, *model.shape, dtype=torch.float64))
    posterior.finalise(Scale(40, 0.3, 0.7, 2.0))
    _, features, _ = head_features(model, *batch)
    a_BKP = F.pad(F.unfold(features, 3, padding=1), (0, 0, 0, 1), value=1.0)
    wanted = torch.einsum("bkp,okol,blp->bop", a_BKP, posterior.covariance("head"), a_BKP)
    assert posterior.closed_form
    assert relative_error(posterior.predictive_variance(features).flatten(2), wanted) < 1e-10


SCALE = Scale(n_effective=40, observation_noise=0.3, prior_precision=0.7, temperature=2.0)
DRAWS = 5_000  # what is compared in standard errors has 2 % of a variance as one
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
        posterior.finalise(Scale(3e38, 1e-300, 1.0))
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
def test_draws_are_in_single_precision(dtype):
    model, (x, t_B, y_B) = small()
    model.network.to(dtype)
    posterior = KFACLaplace(model.network)
    feed(posterior, model, (x.to(dtype), t_B, y_B), torch.randn(6, 3, dtype=dtype))
    draw = posterior.finalise(SCALE).draw(0)
    assert {value.dtype for value in draw.values()} == {torch.float32}
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


KINDS = {
    "expand": lambda network: KFACLaplace(network),
    "reduce": lambda network: KFACLaplace(network, approximation="reduce"),
    "subnetwork": lambda network: SubnetworkLaplace(network, fraction=0.5),
}


@pytest.mark.parametrize("kind", ["kfac", "subnetwork_laplace"])
def test_the_fit_does_not_depend_on_the_batch_size(kind):
    model, data = network_case("unet")
    options = {"layers": ["up.*", "head"], "images": 7, "held_out": 5}
    one, three = (fit(model, data, kind, batch_size=size, **options) for size in (1, 3))
    for key, value in one.posterior.sums().items():
        assert relative_error(three.posterior.sums()[key], value) < 1e-9
    for key in ("n_effective", "observation_noise", "prior_precision", "temperature"):
        assert getattr(three.chosen.scale, key) == pytest.approx(getattr(one.chosen.scale, key), rel=1e-6)
    first, second = (result.posterior.draw(0) for result in (one, three))
    assert all(relative_error(second[name], value) < 1e-6 for name, value in first.items())


def sampled_temperature(posterior, model, batch, noise):
    """The temperature chosen for residuals `noise` (images, ...)."""
    x, t_B, _ = batch
    index = torch.arange(len(x))
    judged = HeldOutPass(posterior)
    judged.add(model, RegressionBatch(x, t_B, None, model(*batch).detach() - noise, index, torch.zeros_like(index)))
    return choose_temperature(posterior, judged.held_out, judged.held_out.residual_variance)[0]


def dense_curvature(posterior, name):
    """C of one layer and the indices of its weights."""
    if isinstance(posterior, SubnetworkLaplace):
        return torch.diag(posterior.curvature(name)), posterior.chosen_S[name]
    dense = square(kronecker(posterior, name))
    return dense, torch.arange(len(dense))


def expected_temperature(posterior, model, batch, covariance_DD):
    """tr(C^-1 J) / (s^2 tr(C^-1 F)) from Jacobians, J the gradients' covariance under that of an image's residuals."""
    against = own = 0.0
    for name in posterior.layer_names:
        dense, index = dense_curvature(posterior, name)
        jacobian_BDW = layer_jacobian(model, name, batch).flatten(2)[:, :, index]
        inverse = torch.linalg.inv(dense + ridge_of(posterior) * torch.eye(len(dense), dtype=torch.float64))
        inner_BDD = jacobian_BDW @ inverse @ jacobian_BDW.mT
        against += float((inner_BDD * covariance_DD).sum())
        own += float(inner_BDD.diagonal(dim1=1, dim2=2).sum())
    return against / own / float(covariance_DD.diagonal().mean())


@pytest.mark.parametrize("kind", KINDS)
def test_the_temperature_is_that_of_the_residuals_covariance(kind):
    """One where they are independent, however few images the curvature saw: with 4, A of `reduce` has rank 4 of 10."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.Tanh(), nn.Conv2d(3, 1, 3, padding=1)).double()
    model, batch = plain_model(network, (1, 6, 6)), plain_batch((1, 6, 6), images=20, seed=9)
    many = (batch[0].repeat(20, 1, 1, 1), batch[1].repeat(20), None)  # each with 20 residuals
    posterior = KINDS[kind](network)
    feed(posterior, model, plain_batch((1, 6, 6), images=4))
    identity = torch.eye(36, dtype=torch.float64)
    for spread in (identity, torch.ones(36, 36, dtype=torch.float64) + 0.1 * identity):
        numbers = torch.randn(400, 36, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        noise = (0.3 * numbers @ torch.linalg.cholesky(spread).T).reshape(400, 1, 6, 6)
        wanted = expected_temperature(posterior, model, batch, 0.09 * spread)
        assert sampled_temperature(posterior, model, many, noise) == pytest.approx(wanted, rel=0.1)
        assert wanted == pytest.approx(1) if spread is identity else abs(wanted - 1) > 0.3


def test_a_wanted_perturbation_is_reached_over_all_layers():
    model, data = network_case("mlp")
    scale = ScaleOptions(relative_perturbation=0.03)
    posterior = fit(model, data, "kfac", images=8, held_out=6, scale=scale).posterior
    moved = [
        torch.cat([(value - model.network.get_parameter(name)).detach().flatten() for name, value in draw.items()])
        for draw in (posterior.draw(index) for index in range(30))
    ]
    trained = torch.cat([value.detach().flatten() for value in posterior.covered().values()])
    relative = float((torch.stack(moved).square().mean() / trained.square().mean()).sqrt())
    assert relative == pytest.approx(0.03, rel=0.1) == posterior.relative_perturbation()


def test_the_prior_that_maximises_the_evidence_is_that_of_the_dense_determinants():
    model, batch = case("mlp")
    posterior = KFACLaplace(model.network, ["entry", "head"])
    feed(posterior, model, batch)
    _, (grid, curve) = maximise_evidence(posterior, Scale(40, 0.3, 1.0, 2.0))
    trained = torch.cat([value.detach().flatten() for value in posterior.covered().values()])
    chosen = [0, 150, 399]
    wanted = []
    for precision in (grid[number] for number in chosen):
        total = -0.5 * precision * float(trained.square().sum())
        for name in posterior.layer_names:
            dense = square(kronecker(posterior, name)) * 40 / 4 / 2.0 / 0.3
            identity = torch.eye(len(dense), dtype=torch.float64)
            total += -0.5 * float(torch.logdet(identity + dense / precision))
        wanted.append(total)
    assert [curve[number] for number in chosen] == pytest.approx(wanted, rel=1e-8)
