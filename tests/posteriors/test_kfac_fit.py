"""Posteriors over several layers through `fit`: batches, and the temperature where the truth is known."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from genuq.posteriors import Scale, ScaleOptions, fit
from genuq.posteriors.fitting.held_out import ridge_of
from genuq.posteriors.fitting.passes import HeldOutPass
from genuq.posteriors.fitting.regression import RegressionBatch
from genuq.posteriors.fitting.scale import choose_temperature, maximise_evidence
from genuq.posteriors.kfac import KFACLaplace
from genuq.posteriors.subnetwork import SubnetworkLaplace
from support.layer_oracles import case, feed, kronecker, layer_jacobian, plain_batch, plain_model, square
from support.posterior_oracles import network_case, relative_error

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
