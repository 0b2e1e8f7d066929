import pytest
import torch
from torch import nn

from genuq.errors import ConfigurationError
from genuq.posteriors import DiagonalLaplace, ExactLastLayerLaplace, Scale
from support.posterior_oracles import HEADS, gauss_newton, head_case, layer_jacobian, relative_error


def updated(posterior, features, residuals=None):
    posterior.update(features, residuals)
    return posterior


def diagonal_of(gauss_newton_OKOK):
    outputs, inputs = gauss_newton_OKOK.shape[:2]
    return gauss_newton_OKOK.reshape(outputs * inputs, -1).diagonal().reshape(outputs, inputs)


@pytest.mark.parametrize("name", HEADS)
def test_the_ggn_convention_is_the_diagonal_of_autograds(name):
    layer, features = head_case(name)
    wanted = diagonal_of(gauss_newton(layer_jacobian(layer, features)))
    curvature = updated(DiagonalLaplace(layer), features).curvature
    assert relative_error(curvature, wanted) < 1e-10
    exact = updated(ExactLastLayerLaplace(layer), features).curvature
    assert relative_error(curvature, exact.diagonal().expand_as(curvature)) < 1e-12


def gradients_image_by_image(layer, features, targets):
    """Gradients of half the squared error of each image, (B, O, K), by autograd."""
    rows = []
    for feature, target in zip(features.split(1), targets.split(1)):
        loss = 0.5 * (layer(feature) - target).square().sum()
        gradients = torch.autograd.grad(loss, list(layer.parameters()))
        rows.append(torch.cat([gradient.reshape(len(layer.weight), -1) for gradient in gradients], 1))
    return torch.stack(rows)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize(("convention", "factor"), [("empirical_fisher", 1), ("laplace_torch", 2)])
def test_the_fisher_conventions_square_the_gradient_of_whole_images(name, convention, factor):
    layer, features = head_case(name)
    outputs = layer(features).detach()
    targets = torch.randn_like(outputs)
    posterior = DiagonalLaplace(layer, convention=convention)
    for part in (slice(0, 1), slice(1, 4)):
        posterior.update(features[part], (outputs - targets)[part])
    wanted = factor * gradients_image_by_image(layer, features, targets).square().sum(0)
    assert relative_error(posterior.curvature, wanted) < 1e-10


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("noise", [1.0, 0.6])
def test_the_laplace_torch_convention_is_that_of_laplace_torch(noise):
    """Curvature and predictive variance of laplace-torch 0.3's DiagLLLaplace.

    Of its empirical-Fisher backends the one of BackPACK works on a last layer; CurvlinopsEF silently gives zeros there.
    """
    laplace = pytest.importorskip("laplace")
    from laplace.curvature import BackPackEF

    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    x, y = torch.randn(20, 4, dtype=torch.float64), torch.randn(20, 3, dtype=torch.float64)
    theirs = laplace.Laplace(
        network,
        "regression",
        subset_of_weights="last_layer",
        hessian_structure="diag",
        backend=BackPackEF,
        sigma_noise=noise**0.5,
        prior_precision=0.4,
    )
    theirs.fit(torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=7))
    features = network[:2](x).detach()
    ours = DiagonalLaplace(network[2], convention="laplace_torch")
    ours.update(features, network(x) - y)
    ours.finalise(Scale(n_effective=20, observation_noise=noise, prior_precision=0.4))
    assert relative_error(flat(ours.curvature), theirs.H.double()) < 1e-6
    predictive = ours.predictive_variance(features)
    _, variance_theirs = theirs.functional_variance_fast(x)
    assert relative_error(predictive, variance_theirs.double()) < 1e-6


def flat(matrix_OK):
    """W (O, K) in laplace-torch's order: all weights, then all biases."""
    return torch.cat([matrix_OK[:, :-1].flatten(), matrix_OK[:, -1]])


@pytest.mark.parametrize(("convention", "power"), [("ggn", 1), ("empirical_fisher", 2), ("laplace_torch", 1)])
def test_the_precision_carries_the_noise_as_documented(convention, power):
    layer, features = head_case("linear, flat")
    posterior = updated(DiagonalLaplace(layer, convention=convention), features, torch.ones_like(layer(features)))
    posterior.finalise(Scale(n_effective=12, observation_noise=0.2, prior_precision=0.5, temperature=1.5))
    one_hot = torch.eye(4, dtype=torch.float64)
    variance = posterior.predictive_variance(one_hot)  # of weight j plus bias, for channel o
    wanted = 1 / (12 / 4 / 1.5 / 0.2**power * posterior.curvature + 0.5)
    assert relative_error(variance, wanted.T[:4] + wanted.T[4]) < 1e-12


def test_residuals_are_asked_for_by_key():
    layer, features = head_case("3x3")
    with pytest.raises(ConfigurationError, match=r"posterior\.convention = 'empirical_fisher' needs the residuals"):
        DiagonalLaplace(layer, convention="empirical_fisher").update(features)


def test_an_unknown_convention_names_the_near_match():
    with pytest.raises(ConfigurationError, match=r"posterior\.convention.*Did you mean 'empirical_fisher'"):
        DiagonalLaplace(head_case("3x3")[0], convention="empirical_fischer")
