"""Noise that varies over time, and the scale by held-out prediction, against dense linear algebra."""

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import nn

from genuq.errors import ConfigurationError
from genuq.posteriors import FitSettings, ScaleOptions, fit, swapped
from genuq.posteriors.curvature.capture import head_features
from genuq.posteriors.fitting import passes
from genuq.posteriors.fitting.fitting import KINDS
from genuq.posteriors.fitting.held_out import DRAWN_FACTORS, FACTORS, HeldOutSums, PredictiveCurve
from genuq.posteriors.fitting.passes import CurvaturePass, bins_of, drawn_at
from genuq.posteriors.fitting.regression import RegressionBatches, keyed_normal, regress
from genuq.posteriors.fitting.scale import noise_weights
from genuq.posteriors.last_layer import LastLayerPosterior
from genuq.randomness import FITTING, HELD_OUT
from support.posterior_oracles import image_data, network_case, relative_error, tiny_model

BINS = 3


def rows(model, data, stream, images, seed=0, repeats=1):
    """All rows of a pass as one batch."""
    return regress(model, RegressionBatches(data, images, model.latent_shape, 1000, seed, stream, repeats)[0])


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
    posterior = KINDS["exact_laplace"](nn.Linear(4, 2))
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


def test_shards_of_a_binned_pass_add_up():
    model, data = network_case("unet")
    batches = RegressionBatches(data, range(9), model.latent_shape, 2, 0, FITTING)
    make = lambda: CurvaturePass(lambda: KINDS["exact_laplace"](model.head), bins=2)  # noqa: E731
    whole, first, second = make(), make(), make()
    for number in range(len(batches)):
        whole.add(model, regress(model, batches[number]))
        (first if number % 2 else second).add(model, regress(model, batches[number]))
    added = {name: first.sums()[name] + second.sums()[name] for name in first.sums()}
    first.restore(added)
    weights_T = torch.tensor([2.0, 0.5], dtype=torch.float64)
    assert relative_error(first.combined(weights_T).curvature, whole.combined(weights_T).curvature) < 1e-12


# Several (t, eps) an image ----------------------------------------------------------------------------------------


def test_repeats_are_fresh_and_stratified_and_the_first_is_the_only_one():
    model, data = tiny_model(), image_data()
    once, thrice = (rows(model, data, FITTING, range(8), repeats=repeats) for repeats in (1, 3))
    assert thrice.index_B.tolist() == list(range(8)) * 3
    assert sorted((thrice.t * 24).int().tolist()) == list(range(24))
    noise = lambda batch: batch.target + data.batch(batch.index_B.tolist())[0]  # noqa: E731  flow: target = eps - x_0
    assert torch.allclose(noise(thrice)[:8], noise(once), atol=1e-6)
    assert not torch.allclose(noise(thrice)[8:16], noise(thrice)[:8], atol=0.1)


def test_numbers_of_the_fisher_belong_to_the_row():
    model, data = tiny_model(), image_data()
    whole = rows(model, data, FITTING, [3, 9], repeats=2)
    numbers = keyed_normal(whole, (2, 2), 0, "fisher")
    assert len({float(row.sum()) for row in numbers}) == 4
    alone = rows(model, data, FITTING, [9])
    assert torch.equal(keyed_normal(alone, (2, 2), 0, "fisher")[0], numbers[1])


# Held-out prediction ------------------------------------------------------------------------------------------------


def test_the_predictive_curve_is_the_mean_normal_log_density():
    numbers = np.random.default_rng(0)
    residual, variance = numbers.normal(size=(4, 3)), numbers.normal(size=(4, 3)) ** 2
    noise, curve = np.array([0.5, 0.5, 2.0, 1.0]), PredictiveCurve()
    for part in (slice(0, 1), slice(1, 4)):
        curve.update(*(torch.tensor(values[part]) for values in (residual, variance, noise)))
    for factor, value in list(zip(FACTORS.tolist(), curve.curve().tolist()))[::16]:
        total = noise[:, None] + factor * variance
        assert value == pytest.approx(norm(0, total**0.5).logpdf(residual).mean(), rel=1e-9)


def test_draws_are_matched_by_a_normal_with_their_mean_and_variance():
    numbers = np.random.default_rng(0)
    residual, deviations, noise = (
        numbers.normal(size=(4, 3)),
        numbers.normal(size=(2, 5, 4, 3)),
        np.array([1, 2, 3, 4.0]),
    )
    curve = PredictiveCurve(torch.tensor([0.1, 1.0], dtype=torch.float64))
    curve.update_drawn(torch.tensor(residual), torch.tensor(deviations), torch.tensor(noise))
    for value, drawn in zip(curve.curve().tolist(), deviations):
        total = noise[:, None] + drawn.var(0)
        assert value == pytest.approx(norm(0, total**0.5).logpdf(residual + drawn.mean(0)).mean(), rel=1e-9)


def test_the_factor_with_the_best_prediction_is_found():
    """Residuals that scatter as s^2 + 30 v ask for a factor of 30."""
    torch.manual_seed(0)
    variance = torch.rand(20_000, 1, dtype=torch.float64)
    curve = PredictiveCurve()
    curve.update((0.2 + 30 * variance).sqrt() * torch.randn_like(variance), variance, torch.full((20_000,), 0.2))
    assert curve.best() == pytest.approx(30, rel=0.35)  # the factors step by a third


@pytest.mark.parametrize("kind", ["exact_laplace", "kfac", "mc_dropout"])
def test_prediction_decides_the_size_of_the_draws(kind):
    model, data = network_case("unet")
    options = {"layers": ["head"], "rate": 0.1} if kind == "mc_dropout" else {}
    common = {"images": 12, "held_out": 8, "batch_size": 3}
    by_evidence = fit(model, data, kind, **common, **options)
    chosen = fit(model, data, kind, **common, **options, scale=ScaleOptions(criterion="predictive")).chosen
    factors, densities = chosen.predictive
    best = factors[int(np.argmax(densities))]
    assert len(factors) == len(FACTORS if kind == "exact_laplace" else DRAWN_FACTORS)
    assert chosen.criterion == "predictive" and f"times {best:.3g}" in chosen.how["temperature"]
    assert chosen.scale.temperature == pytest.approx(best * by_evidence.chosen.scale.temperature)
    assert chosen.scale.prior_precision == pytest.approx(by_evidence.chosen.scale.prior_precision / best)


def test_the_predictive_density_of_a_head_is_that_of_dense_draws():
    """The closed-form variance beside 4,000 weight draws through the whole network."""
    model, data = network_case("mlp")
    result = fit(model, data, images=12, held_out=8, scale=ScaleOptions(criterion="predictive"))
    _, held_out = FitSettings(images=12, held_out=8).permutation(data)
    batch = rows(model, data, HELD_OUT, held_out)
    posterior = result.posterior
    assert isinstance(posterior, LastLayerPosterior)
    with torch.no_grad():
        trained = model(batch.x, batch.t, batch.y)
        deviations = []
        for index in range(4000):
            with swapped(model.head, posterior.draw(index)):
                deviations.append(model(batch.x, batch.t, batch.y) - trained)
    total = result.chosen.scale.observation_noise + torch.stack(deviations).square().mean(0)
    wanted = norm(0, total.sqrt().numpy()).logpdf((batch.target - trained).numpy()).mean()
    assert max(result.chosen.predictive[1]) == pytest.approx(wanted, abs=0.01)


def test_draws_too_large_to_keep_are_drawn_again_and_change_nothing(monkeypatch):
    model, data = network_case("unet")
    options = {"images": 12, "held_out": 8, "batch_size": 3, "scale": ScaleOptions(criterion="predictive")}
    kept = fit(model, data, "kfac", **options).chosen
    drawn = []
    monkeypatch.setattr(passes, "BYTES_KEPT", 0)
    monkeypatch.setattr(passes, "drawn_at", lambda *how: drawn.append(how[1]) or drawn_at(*how))
    assert fit(model, data, "kfac", **options).chosen == kept
    assert len(drawn) == 3 * len(DRAWN_FACTORS)  # each factor for each of the three batches


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"criterion": "evidense"}, "Did you mean 'evidence'"),
        ({"criterion": "perturbation"}, "relative_perturbation belong together"),
        ({"criterion": "predictive", "relative_perturbation": 0.1}, "relative_perturbation belong together"),
    ],
)
def test_criteria_that_cannot_work_are_refused(options, said):
    with pytest.raises(ConfigurationError, match=said):
        ScaleOptions(**options)
