"""Weight draws against what each posterior states, within Monte-Carlo error."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from genuq.posteriors import DiagonalLaplace, ExactLastLayerLaplace, IsotropicNoise, Scale, swapped

DRAWS = 5_000  # what is compared in standard errors has 2 % of a variance as one
STANDARD_ERRORS = 5  # one of a thousand entries lies outside by chance with probability 0.0006
ACTIVE = torch.tensor([True, True, False])
KINDS = {
    "exact": lambda layer: ExactLastLayerLaplace(layer, ACTIVE),
    "diagonal": lambda layer: DiagonalLaplace(layer, ACTIVE),
    "isotropic": lambda layer: IsotropicNoise(layer, ACTIVE),
}


def fitted(kind):
    """A posterior over a 2x2 convolution of two channels, K = 9, whose features are strongly correlated."""
    torch.manual_seed(0)
    layer = nn.Conv2d(2, 3, 2, padding=1).double()
    features = torch.randn(5, 2, 3, 4, dtype=torch.float64).cumsum(-1)
    posterior = KINDS[kind](layer)
    posterior.update(features, torch.randn_like(layer(features)))
    return layer, features, posterior.finalise(Scale(n_effective=10, observation_noise=0.5, prior_precision=2.0))


@pytest.fixture(scope="module", params=KINDS)
def drawn(request):
    layer, features, posterior = fitted(request.param)
    draws = [posterior.draw(index) for index in range(DRAWS)]
    return layer, features, posterior, {name: torch.stack([draw[name] for draw in draws]) for name in draws[0]}


def stated_covariance(posterior, channel):
    if isinstance(posterior, ExactLastLayerLaplace):
        return posterior.covariance()
    weight = posterior.weight(posterior.scale) if not isinstance(posterior, IsotropicNoise) else 0.0
    curvature = posterior.curvature.expand(3, -1)[channel]
    return torch.diag(1 / (weight * curvature + posterior.scale.prior_precision))


def test_the_draws_have_the_stated_mean_and_covariance(drawn):
    layer, _, posterior, draws = drawn
    for channel in (0, 1):
        rows = torch.cat([draws["weight"][:, channel].flatten(1), draws["bias"][:, channel, None]], 1)
        trained = torch.cat([layer.weight[channel].flatten(), layer.bias[channel, None]]).detach()
        stated = stated_covariance(posterior, channel)
        variances = stated.diagonal()
        error_of_mean = (variances / DRAWS).sqrt()
        assert ((rows.mean(0) - trained).abs() < STANDARD_ERRORS * error_of_mean).all()
        error_of_covariance = ((variances[:, None] * variances + stated**2) / DRAWS).sqrt()
        assert ((rows.T.cov() - stated).abs() < STANDARD_ERRORS * error_of_covariance).all()


def test_channels_are_drawn_independently(drawn):
    *_, draws = drawn
    first, second = (draws["weight"][:, channel].flatten(1) for channel in (0, 1))
    correlations = torch.corrcoef(torch.cat([first, second], 1).T)[:8, 8:]
    assert correlations.abs().max() < STANDARD_ERRORS / DRAWS**0.5


def test_the_predictive_variance_is_that_of_the_layer_under_the_draws(drawn):
    _, features, posterior, draws = drawn
    stacked = F.conv2d(features, draws["weight"].flatten(0, 1), draws["bias"].flatten(), padding=1)
    sampled = stacked.unflatten(1, (DRAWS, 3)).var(1)
    stated = posterior.predictive_variance(features)
    error = stated * (2 / (DRAWS - 1)) ** 0.5
    assert ((sampled - stated).abs() <= STANDARD_ERRORS * error)[:, ACTIVE].all()
    assert torch.equal(stated[:, 2], torch.zeros_like(stated[:, 2]))


def test_discarded_channels_keep_the_trained_weights(drawn):
    layer, _, _, draws = drawn
    assert (draws["weight"][:, 2] == layer.weight[2]).all() and (draws["bias"][:, 2] == layer.bias[2]).all()


def test_the_mean_perturbation_is_that_of_the_draws(drawn):
    layer, _, posterior, draws = drawn
    moved = torch.cat(
        [(draws[name] - getattr(layer, name).detach())[:, :2].flatten(1) for name in ("weight", "bias")], 1
    )
    trained = torch.cat([getattr(layer, name).detach()[:2].flatten() for name in ("weight", "bias")])
    relative = float((moved.square().mean() / trained.square().mean()).sqrt())
    assert posterior.relative_perturbation() == pytest.approx(relative, rel=0.02)
    assert posterior.mean_variance() == pytest.approx(float(moved.square().mean()), rel=0.04)


@pytest.mark.parametrize("kind", KINDS)
def test_a_draw_is_the_same_whatever_else_was_drawn(kind):
    alone = fitted(kind)[2].draw(7, seed=4)
    *_, posterior = fitted(kind)
    torch.manual_seed(123)
    for index in (3, 9, 1):
        posterior.draw(index, seed=4)
    again = posterior.draw(7, seed=4)
    assert all(torch.equal(alone[name], again[name]) for name in ("weight", "bias"))
    for other in (posterior.draw(8, seed=4), posterior.draw(7, seed=5)):
        assert not torch.equal(other["weight"], again["weight"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_draws_of_half_precision_are_in_float32(dtype):
    layer = nn.Linear(4, 3).to(dtype)
    posterior = ExactLastLayerLaplace(layer)
    posterior.update(torch.randn(6, 4, dtype=dtype))
    draw = posterior.finalise(Scale(6, 1.0, 1.0)).draw(0)
    assert {name: (value.dtype, value.shape) for name, value in draw.items()} == {
        "weight": (torch.float32, (3, 4)),
        "bias": (torch.float32, (3,)),
    }


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("relative", [1e-2, 1e-5])
def test_draws_far_below_half_precision_move_the_output_by_their_size(dtype, relative):
    """Var f of the closed form, of a posterior that moves the weights by a thousandth of a unit in their last place."""
    torch.manual_seed(0)
    layer = nn.Linear(4, 3).to(dtype)
    noise, features = IsotropicNoise(layer), torch.randn(2, 4).to(dtype)
    noise.update(features)
    noise.finalise(Scale(1, 1.0, prior_precision=(relative * noise.mean_square() ** 0.5) ** -2))
    outputs = []
    for index in range(400):
        with swapped(layer, noise.draw(index)):
            outputs.append(layer(features).double())
    expected = noise.predictive_variance(features)
    torch.testing.assert_close(torch.stack(outputs).var(0).mean(), expected.mean(), rtol=0.1, atol=0)


def test_an_untrained_head_has_an_infinite_relative_perturbation():
    layer = nn.Linear(2, 1)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    posterior = IsotropicNoise(layer)
    posterior.update(torch.ones(1, 2))
    assert posterior.finalise(Scale(1, 1, 1)).relative_perturbation() == float("inf")


def test_isotropic_noise_takes_the_size_of_another_posterior():
    layer, features, exact = fitted("exact")
    noise = IsotropicNoise(layer, ACTIVE)
    noise.update(features)
    noise.finalise(Scale(10, 1.0, prior_precision=1 / exact.mean_variance()))
    assert noise.relative_perturbation() == pytest.approx(exact.relative_perturbation(), rel=1e-12)
