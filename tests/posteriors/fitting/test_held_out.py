"""Noise that varies over time, and the scale by held-out prediction, against dense linear algebra."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from genuq.errors import ConfigurationError
from genuq.posteriors import FitSettings, ScaleOptions, fit, swapped
from genuq.posteriors.fitting import passes
from genuq.posteriors.fitting.held_out import DRAWN_FACTORS, FACTORS, PredictiveCurve
from genuq.posteriors.fitting.passes import drawn_at
from genuq.posteriors.last_layer import LastLayerPosterior
from genuq.randomness import HELD_OUT
from support.posterior_oracles import network_case, rows

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
    model, data = network_case("mlp")
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
