"""The scale that is chosen from data, against linear regressions where the answer is known."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import nn

from genuq.errors import ConfigurationError
from genuq.posteriors import (
    DiagonalLaplace,
    ExactLastLayerLaplace,
    FitSettings,
    IsotropicNoise,
    Scale,
    ScaleOptions,
    fit,
)
from genuq.posteriors.curvature.capture import head_features
from genuq.posteriors.fitting.held_out import HeldOutSums
from genuq.posteriors.fitting.passes import bins_of
from genuq.posteriors.fitting.scale import (
    choose_scale,
    choose_temperature,
    factor_to_reach,
    maximise_evidence,
    noise_weights,
)
from genuq.randomness import FITTING, HELD_OUT
from support.posterior_oracles import image_data, network_case, relative_error, rows, tiny_model

INPUTS, OUTPUTS, NOISE = 4, 2, 0.5


def regression(features, residuals, kind=ExactLastLayerLaplace):
    """A linear head (K = 5): held-out sums over (B, P, C) features and (B, P, O) residuals, posterior from half."""
    torch.manual_seed(0)
    posterior = kind(nn.Linear(INPUTS, OUTPUTS))
    posterior.update(features[::2])
    sums = HeldOutSums(INPUTS + 1)
    for part, residual in zip(features.split(100), residuals.split(100)):
        sums.update(posterior, part, residual, residual)
    return posterior, sums


def correlated_positions(correlation, positions, images=4000):
    """P copies of one position, whose residuals of variance NOISE have this correlation."""
    numbers = torch.Generator().manual_seed(1)
    one = torch.randn(images, 1, INPUTS, generator=numbers, dtype=torch.float64).expand(-1, positions, -1)
    shared = torch.randn(images, 1, OUTPUTS, generator=numbers, dtype=torch.float64)
    own = torch.randn(images, positions, OUTPUTS, generator=numbers, dtype=torch.float64)
    return one, NOISE**0.5 * (correlation**0.5 * shared + (1 - correlation) ** 0.5 * own)


def test_the_temperature_is_one_where_positions_are_independent():
    numbers = torch.Generator().manual_seed(1)
    features = torch.randn(4000, 3, INPUTS, generator=numbers, dtype=torch.float64)
    residuals = NOISE**0.5 * torch.randn(4000, 3, OUTPUTS, generator=numbers, dtype=torch.float64)
    posterior, sums = regression(features, residuals)
    # Standard error: sqrt(2 / (K O images)) for Gaussian gradients, 0.007.
    assert choose_temperature(posterior, sums, NOISE)[0] == pytest.approx(1, abs=5 * 0.007)


@pytest.mark.parametrize("kind", [ExactLastLayerLaplace, DiagonalLaplace])
@pytest.mark.parametrize(("correlation", "positions"), [(1.0, 6), (0.5, 6), (0.0, 6), (1.0, 1)])
def test_the_temperature_of_equally_correlated_copies_has_a_closed_form(kind, correlation, positions):
    """An image of P copies with residual correlation rho tells as much as P / T of them: T = 1 + (P - 1) rho."""
    posterior, sums = regression(*correlated_positions(correlation, positions), kind)
    wanted = 1 + (positions - 1) * correlation
    assert choose_temperature(posterior, sums, NOISE)[0] == pytest.approx(wanted, rel=0.06)


def test_with_that_temperature_the_posterior_has_the_width_of_the_estimator():
    """The least-squares weights scatter over data sets as the tempered posterior says (T = 6)."""
    one, residuals = correlated_positions(1.0, positions=6)
    posterior, sums = regression(one, residuals)
    temperature, _ = choose_temperature(posterior, sums, NOISE)
    posterior.finalise(Scale(4000, NOISE, 1e-6, temperature))
    a_NK = torch.cat([one.flatten(0, 1), torch.ones(24_000, 1, dtype=torch.float64)], 1)
    numbers = torch.Generator().manual_seed(5)
    shared_NR = NOISE**0.5 * torch.randn(4000, 400, generator=numbers, dtype=torch.float64)
    estimates_KR = torch.linalg.solve(a_NK.T @ a_NK, a_NK.T @ shared_NR.repeat_interleave(6, dim=0))
    assert float(estimates_KR.square().mean()) == pytest.approx(posterior.mean_variance(), rel=0.15)


def test_a_wrong_noise_is_made_good_by_the_temperature():
    posterior, sums = regression(*correlated_positions(0.3, positions=4))
    right, doubled = (choose_temperature(posterior, sums, noise)[0] for noise in (NOISE, 2 * NOISE))
    assert doubled == pytest.approx(right / 2, rel=1e-12)


def test_discarded_channels_have_no_say():
    features, residuals = correlated_positions(0.5, positions=4)
    posterior, sums = regression(features, residuals)
    half = ExactLastLayerLaplace(nn.Linear(INPUTS, OUTPUTS), torch.tensor([True, False]))
    half.update(features)
    only = HeldOutSums(INPUTS + 1)
    only.update(half, features, residuals[..., :1], residuals * torch.tensor([1, 1e6]))
    assert choose_temperature(half, only, NOISE)[0] == pytest.approx(
        choose_temperature(posterior, sums, NOISE)[0], rel=0.1
    )
    assert only.residual_variance == pytest.approx(NOISE, rel=0.05)


def test_the_fisher_and_isotropic_noise_have_temperature_one():
    features, residuals = correlated_positions(1.0, positions=6, images=10)
    posterior, sums = regression(features, residuals)
    for other in (
        DiagonalLaplace(posterior.head.layer, convention="empirical_fisher"),
        IsotropicNoise(posterior.head.layer),
    ):
        assert choose_temperature(other, sums, NOISE)[0] == 1.0


# Evidence --------------------------------------------------------------------------------------------------------


def bayesian_regression():
    """30 points with a few weak directions: (a (N, K), y (N,)), without bias."""
    numbers = torch.Generator().manual_seed(2)
    a_NK = torch.randn(30, INPUTS, generator=numbers, dtype=torch.float64) * torch.tensor([1.0, 0.5, 0.2, 0.1])
    weights = torch.tensor([0.8, -0.5, 0.3, 0.6], dtype=torch.float64)
    return a_NK, a_NK @ weights + NOISE**0.5 * torch.randn(30, generator=numbers, dtype=torch.float64)


def dense_log_evidence(a_NK, y_N, precision):
    """log N(y; 0, s^2 I + a a^T / lambda), the log marginal likelihood with the weights integrated out."""
    covariance = NOISE * torch.eye(len(y_N), dtype=torch.float64) + a_NK @ a_NK.T / precision
    return multivariate_normal(np.zeros(len(y_N)), covariance.numpy()).logpdf(y_N.numpy())


def trained_at(a_NK, y_N, precision):
    """A head trained to its optimum with this prior precision, and the posterior over it."""
    identity = torch.eye(INPUTS, dtype=torch.float64)
    weights = torch.linalg.solve(a_NK.T @ a_NK / NOISE + precision * identity, a_NK.T @ y_N / NOISE)
    layer = nn.Linear(INPUTS, 1, bias=False).double()
    layer.weight.data[0] = weights
    posterior = ExactLastLayerLaplace(layer)
    posterior.update(a_NK)
    return posterior


def test_the_evidence_has_its_maximum_where_the_dense_marginal_likelihood_has():
    a_NK, y_N = bayesian_regression()
    grid = np.geomspace(0.2, 20, 300)
    best = grid[np.argmax([dense_log_evidence(a_NK, y_N, precision) for precision in grid])]
    chosen, _ = maximise_evidence(trained_at(a_NK, y_N, best), Scale(30, NOISE, 1.0))
    assert grid[5] < best < grid[-5]
    assert chosen == pytest.approx(best, rel=0.05)  # the grids step by 5 % and 2 %


def test_the_evidence_curve_is_laplaces_from_dense_determinants():
    a_NK, y_N = bayesian_regression()
    posterior = trained_at(a_NK, y_N, 2.0)
    scale = Scale(n_effective=90, observation_noise=NOISE, prior_precision=1.0, temperature=1.5)
    _, (grid, curve) = maximise_evidence(posterior, scale)
    hessian = (90 / 30 / 1.5) * a_NK.T @ a_NK / NOISE
    norm = float(posterior.mean_OK.square().sum())
    identity = torch.eye(INPUTS, dtype=torch.float64)
    for precision, value in list(zip(grid, curve))[::40]:
        occam = torch.linalg.slogdet(hessian + precision * identity).logabsdet - INPUTS * np.log(precision)
        assert value == pytest.approx(float(-0.5 * (occam + precision * norm)), abs=1e-8)


def test_the_evidence_counts_every_active_channel():
    """K weights in each of O channels: repeating a channel doubles the curve and leaves its maximum."""
    a_NK, y_N = bayesian_regression()
    one = trained_at(a_NK, y_N, 2.0)
    layer = nn.Linear(INPUTS, 3, bias=False).double()
    layer.weight.data = torch.cat([one.mean_OK, one.mean_OK, 100 * one.mean_OK])
    two = ExactLastLayerLaplace(layer, torch.tensor([True, True, False]))
    two.update(a_NK)
    (best_one, curve_one), (best_two, curve_two) = (maximise_evidence(p, Scale(30, NOISE, 1.0)) for p in (one, two))
    assert best_two == pytest.approx(best_one, rel=1e-9)
    assert np.allclose(curve_two[1], 2 * np.array(curve_one[1]), rtol=1e-9)


def test_an_untrained_head_has_no_evidence():
    posterior = trained_at(*bayesian_regression(), 2.0)
    posterior.mean_OK.zero_()
    with pytest.raises(ConfigurationError, match=r"posterior\.prior_precision"):
        maximise_evidence(posterior, Scale(30, NOISE, 1.0))


# Putting it together ---------------------------------------------------------------------------------------------


@pytest.fixture
def fitted():
    return regression(*correlated_positions(0.5, positions=4, images=300))


def test_what_is_left_open_comes_from_data(fitted):
    posterior, sums = fitted
    chosen = choose_scale(posterior, sums, 60_000, ScaleOptions())
    assert chosen.scale.n_effective == 60_000
    assert chosen.scale.observation_noise == pytest.approx(NOISE, rel=0.1)
    assert chosen.scale.temperature == pytest.approx(choose_temperature(posterior, sums, sums.residual_variance)[0])
    assert chosen.scale.prior_precision == maximise_evidence(posterior, chosen.scale)[0]
    assert chosen.evidence is not None and set(chosen.how) == set(Scale.__dataclass_fields__)
    assert "given" not in chosen.how.values()


def test_what_is_given_wins(fitted):
    given = {"n_effective": 7.0, "observation_noise": 0.1, "prior_precision": 3.0, "temperature": 2.0}
    chosen = choose_scale(*fitted, 60_000, ScaleOptions(**given))
    assert chosen.scale == Scale(**given) and chosen.evidence is None
    assert set(chosen.how.values()) == {"given"}


@pytest.mark.parametrize("target", [1e-3, 0.05, 0.7])
@pytest.mark.parametrize("kind", [ExactLastLayerLaplace, DiagonalLaplace, IsotropicNoise])
def test_a_wanted_perturbation_is_reached(kind, target):
    posterior, sums = regression(*correlated_positions(0.5, positions=4, images=300), kind)
    chosen = choose_scale(posterior, sums, 60_000, ScaleOptions(relative_perturbation=target))
    assert posterior.finalise(chosen.scale).relative_perturbation() == pytest.approx(target, rel=1e-9)
    draws = torch.stack([posterior.draw(index)["weight"] for index in range(300)]).double()
    moved = (draws - posterior.head.layer.weight).square().mean().sqrt() / posterior.mean_OK.square().mean().sqrt()
    assert float(moved.detach()) == pytest.approx(target, rel=0.25)
    assert f"{target:g}" in chosen.how["temperature"]


def test_reaching_a_perturbation_keeps_the_posteriors_shape(fitted):
    posterior, _ = fitted
    before = posterior.finalise(Scale(300, NOISE, 2.0)).covariance()
    factor = factor_to_reach(posterior, 0.3)
    after = posterior.rescaled(prior_precision=2.0 / factor, temperature=factor).covariance()
    ratio = after / before
    assert float(ratio.std() / ratio.mean()) < 1e-9


@pytest.mark.parametrize("name", list(Scale.__dataclass_fields__))
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_that_is_not_positive_names_its_key(name, value):
    entries = {"n_effective": 1.0, "observation_noise": 1.0, "prior_precision": 1.0}
    for make in (lambda: Scale(**{**entries, name: value}), lambda: ScaleOptions(**{name: value})):
        with pytest.raises(ConfigurationError, match=rf"posterior\.{name} = "):
            make()


@pytest.mark.parametrize("other", ["temperature", "prior_precision"])
def test_a_perturbation_and_what_it_decides_exclude_each_other(other):
    with pytest.raises(ConfigurationError, match=rf"posterior\.relative_perturbation .*posterior\.{other}"):
        ScaleOptions(relative_perturbation=0.1, **{other: 1.0})


def test_isotropic_noise_must_be_given_a_size():
    posterior, sums = regression(*correlated_positions(0.5, positions=4, images=10), IsotropicNoise)
    with pytest.raises(ConfigurationError, match=r"posterior\.prior_precision"):
        choose_scale(posterior, sums, 100, ScaleOptions())
    assert choose_scale(posterior, sums, 100, ScaleOptions(prior_precision=5.0)).scale.prior_precision == 5.0


def test_a_perfect_fit_asks_for_the_noise():
    features, residuals = correlated_positions(0.5, positions=4, images=10)
    with pytest.raises(ConfigurationError, match=r"posterior\.observation_noise"):
        choose_scale(*regression(features, 0 * residuals), 100, ScaleOptions())


def test_dead_features_are_refused():
    posterior = ExactLastLayerLaplace(nn.Linear(INPUTS, OUTPUTS, bias=False))
    posterior.update(torch.zeros(3, INPUTS))
    sums = HeldOutSums(INPUTS)
    sums.update(posterior, torch.zeros(3, INPUTS), torch.ones(3, OUTPUTS), torch.ones(3, OUTPUTS))
    with pytest.raises(ConfigurationError, match="zero on all images"):
        choose_temperature(posterior, sums, NOISE)


BINS = 3


@pytest.mark.parametrize("kind", ["exact_laplace", "diagonal_laplace"])
def test_images_are_weighted_by_the_noise_at_their_time(kind):
    model, data = network_case("unet")
    result = fit(model, data, kind, images=14, held_out=9, batch_size=4, time_bins=BINS)
    settings = FitSettings(images=14, held_out=9)
    fitting, held_out = settings.permutation(data)
    judged = rows(model, data, HELD_OUT, held_out)
    with torch.no_grad():
        squares_B = (model(judged.x, judged.t, judged.y) - judged.target).double().square().flatten(1).mean(1)
    bin_B = bins_of(judged.t, BINS)
    noise_T = torch.stack([squares_B[bin_B == number].mean() for number in range(BINS)])
    assert result.chosen.noise_profile == pytest.approx(noise_T.tolist(), rel=1e-9)
    overall = float(squares_B.mean())
    assert result.chosen.scale.observation_noise == pytest.approx(overall, rel=1e-9)
    batch = rows(model, data, FITTING, fitting)
    wanted = 0
    for row in range(14):  # a posterior of each image alone
        alone = type(result.posterior)(model.head)
        _, features, _ = head_features(model, *(part[row : row + 1] for part in (batch.x, batch.t, batch.y)))
        alone.update(features)
        wanted = wanted + overall / noise_T[int(bins_of(batch.t[row : row + 1], BINS))] * alone.curvature
    assert relative_error(result.posterior.curvature, wanted) < 1e-9
    assert result.posterior.n_seen == 14


def test_equal_noise_at_all_times_changes_nothing():
    torch.manual_seed(0)
    features, residuals = torch.randn(60, 5, 4), torch.randn(60, 5, 2)
    posterior = ExactLastLayerLaplace(nn.Linear(4, 2))
    one, three = HeldOutSums(5), HeldOutSums(5, bins=3)
    one.update(posterior, features, residuals, residuals)
    mirrored = residuals[:20].repeat(3, 1, 1)  # the same residuals in every bin
    three.update(posterior, features, mirrored, mirrored, torch.arange(3).repeat_interleave(20))
    assert noise_weights(three, three.residual_variance).tolist() == pytest.approx([1, 1, 1])
    assert three.gradient_outer(torch.ones(3, dtype=torch.float64)).trace() > 0
    assert noise_weights(one, 7.0).tolist() == [1]


def test_a_bin_without_held_out_images_has_the_overall_variance():
    sums = HeldOutSums(0, bins=2)
    sums.add_residuals(torch.full((3, 4), 2.0), torch.tensor([1, 1, 1]))
    assert sums.residual_variances().tolist() == [4, 4]


@pytest.mark.parametrize("kind", ["kfac", "subnetwork_laplace", "map"])
def test_noise_over_time_needs_a_posterior_over_the_head(kind):
    with pytest.raises(ConfigurationError, match=r"posterior\.time_bins = 2"):
        fit(tiny_model(), image_data(), kind, images=4, held_out=4, time_bins=2)
