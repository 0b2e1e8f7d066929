"""KFAC where it is provably exact, against dense float64 Gauss-Newton matrices; elsewhere against curvlinops."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from curvlinops import KFACLinearOperator
from torch import nn

from genuq.posteriors import Scale
from genuq.posteriors.curvature.capture import head_features, layer_features, residual_gradients
from genuq.posteriors.kfac import KFACLaplace
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
from support.posterior_oracles import HEADS, NETWORKS, head_case, relative_error

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
