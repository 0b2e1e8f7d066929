"""Conversion between prediction types: what goes in comes out, and it agrees with direct algebra."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from genuq.errors import ConfigurationError
from genuq.processes import (
    PREDICTIONS,
    FlowMatching,
    Prediction,
    Process,
    VariancePreserving,
    between,
    conversion,
    edm,
    target,
    target_coefficients,
)

PATHS = {"flow_matching": FlowMatching(), "linear": VariancePreserving(), "cosine": VariancePreserving("cosine")}
paths = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
predictions = pytest.mark.parametrize("prediction", PREDICTIONS)


def pair(count: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(1)
    return torch.randn(2, count, 3, generator=source, dtype=torch.float64).unbind(0)


def by_definition(prediction: str, path, x0: torch.Tensor, noise: torch.Tensor, t: float) -> torch.Tensor:
    """The target as the papers write it."""
    if prediction == "epsilon":
        return noise
    if prediction == "sample":
        return x0
    if prediction == "v_prediction":  # Salimans & Ho 2022: v = alpha eps - sigma x
        return path.alpha(t) * noise - path.sigma(t) * x0
    if prediction == "edm":  # Karras et al. 2022, table 1, with c_in = alpha and s = sigma / alpha
        return path.sigma(t) / 0.5 * x0 - 0.5 * path.alpha(t) * noise
    step = 1e-7  # flow: the velocity of x_t along the path
    ahead, behind = (path.alpha(u) * x0 + path.sigma(u) * noise for u in (t + step, t - step))
    return (ahead - behind) / (2 * step) * (-1 if prediction == "minus_flow" else 1)


@paths
@predictions
@pytest.mark.parametrize("t", [0.05, 0.3333, 0.8, 0.97])
def test_target_is_the_papers_definition(path, prediction, t):
    x0, noise = pair()
    found = target(prediction, path, x0, noise, torch.full((5,), t, dtype=torch.float64))
    torch.testing.assert_close(found, by_definition(prediction, path, x0, noise, t), rtol=1e-5, atol=1e-6)


def test_flow_on_the_straight_path_is_noise_minus_data():
    x0, noise = pair()
    times = torch.linspace(0, 1, 5)
    torch.testing.assert_close(target("flow", FlowMatching(), x0, noise, times), noise - x0)


@paths
@predictions
def test_data_and_noise_are_recovered(path, prediction):
    x0, noise = pair()
    times = torch.tensor([0.01, 0.2, 0.5, 0.9, 0.99], dtype=torch.float64)
    x_t, f = path.interpolate(x0, noise, times), target(prediction, path, x0, noise, times)
    a, b, c, d = (number[:, None] for number in conversion(prediction, path, times))
    torch.testing.assert_close(a * x_t + b * f, x0, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(c * x_t + d * f, noise, rtol=1e-9, atol=1e-9)


@paths
@predictions
def test_coefficients_are_the_inverse_of_the_two_by_two_system(path, prediction):
    for t in (0.02, 0.4, 0.95):
        p, q = (float(value) for value in target_coefficients(prediction, path, t))
        system = np.array([[float(path.alpha(t)), float(path.sigma(t))], [p, q]])
        found = np.array([float(value) for value in conversion(prediction, path, t)]).reshape(2, 2)
        np.testing.assert_allclose(found, np.linalg.inv(system), rtol=1e-9, atol=1e-12)


def test_epsilon_says_nothing_of_the_data_in_pure_noise():
    found = conversion("epsilon", FlowMatching(), 1.0)
    assert math.isinf(found.x0_x)
    assert math.isinf(found.x0_f)
    assert (float(found.eps_x), float(found.eps_f)) == (0.0, 1.0)


@paths
def test_sample_says_nothing_of_the_noise_in_clean_data(path):
    found = conversion("sample", path, 0.0)
    assert (float(found.x0_x), float(found.x0_f)) == (0.0, 1.0)
    assert (float(found.eps_x), float(found.eps_f)) == (math.inf, -math.inf)


@paths
@predictions
def test_no_coefficient_is_nan_at_either_end(path, prediction):
    for t in (0.0, 1.0):
        assert not any(math.isnan(float(value)) for value in conversion(prediction, path, t)), t


@pytest.mark.parametrize("path", [PATHS["linear"], PATHS["cosine"]], ids=["linear", "cosine"])
def test_infinite_velocity_at_clean_data_leaves_the_limits(path):
    """sigma grows like a square root at t = 0 of a variance-preserving path."""
    at_zero = [float(value) for value in conversion("flow", path, 0.0)]
    close = [float(value) for value in conversion("flow", path, 1e-9)]
    assert at_zero == pytest.approx([1, 0, 0, 0], abs=1e-12)
    assert close == pytest.approx(at_zero, abs=1e-3)


@paths
@predictions
def test_target_keeps_the_precision_of_the_data(path, prediction):
    x0 = torch.randn(2, 1, 4, 4)
    found = target(prediction, path, x0, torch.randn_like(x0), torch.tensor([0.3, 0.7]))
    assert found.dtype == torch.float32
    assert found.shape == x0.shape


def test_unknown_prediction_gets_the_near_match():
    with pytest.raises(ConfigurationError, match="Did you mean 'epsilon'"):
        conversion("epsilom", FlowMatching(), 0.5)


class Preconditioned(Process):
    """What EDM's networks are shown: c_in (x_0 + s eps) with s = t / (1 - t), data of standard deviation 0.5."""

    def alpha(self, t):
        t = torch.as_tensor(t, dtype=torch.float64)
        return 1 / ((t / (1 - t)).square() + 0.25).sqrt()

    def sigma(self, t):
        t = torch.as_tensor(t, dtype=torch.float64)
        return self.alpha(t) * t / (1 - t)

    def derivatives(self, t):
        raise NotImplementedError

    def time_at(self, half_log_snr):
        raise NotImplementedError


def test_the_denoiser_of_edm_is_recovered_from_its_f():
    """Karras et al. 2022, table 1: D = c_skip x + c_out F with x = x_0 + s eps."""
    x0, noise = pair()
    t = torch.tensor([0.1, 0.3, 0.5, 0.8, 0.9], dtype=torch.float64)
    s = (t / (1 - t))[:, None]
    c_skip, c_out = 0.25 / (s**2 + 0.25), s * 0.5 / (s**2 + 0.25).sqrt()
    target_F = (x0 - c_skip * (x0 + s * noise)) / c_out
    path = Preconditioned()
    torch.testing.assert_close(target("edm", path, x0, noise, t), target_F, rtol=1e-9, atol=1e-9)
    found = conversion("edm", path, t)
    x_t = path.interpolate(x0, noise, t)
    D = found.x0_x[:, None] * x_t + found.x0_f[:, None] * target_F
    torch.testing.assert_close(D, c_skip * (x0 + s * noise) + c_out * target_F, rtol=1e-9, atol=1e-9)


def test_edm_is_minus_v_where_the_data_have_unit_variance():
    x0, noise = pair()
    t, path = torch.linspace(0.1, 0.9, 5), PATHS["linear"]
    torch.testing.assert_close(
        target(edm(1.0), path, x0, noise, t), -target("v_prediction", path, x0, noise, t), rtol=1e-9, atol=1e-9
    )


def test_a_prediction_of_ones_own_is_converted_like_the_others():
    half = Prediction("half", lambda process, t: (process.alpha(t) / 2, -process.sigma(t)))
    x0, noise = pair()
    t, path = torch.linspace(0.1, 0.9, 5, dtype=torch.float64), PATHS["cosine"]
    x_t, f = path.interpolate(x0, noise, t), target(half, path, x0, noise, t)
    a, b, c, d = (number[:, None] for number in conversion(half, path, t))
    torch.testing.assert_close(a * x_t + b * f, x0, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(c * x_t + d * f, noise, rtol=1e-9, atol=1e-9)
    assert str(half) == "half"


@paths
@predictions
@pytest.mark.parametrize("wanted", PREDICTIONS)
def test_one_prediction_is_another_of_the_same_state(path, prediction, wanted):
    x0, noise = pair()
    t = torch.tensor([0.1, 0.2, 0.5, 0.8, 0.9], dtype=torch.float64)
    on_x, on_f = (number[:, None] for number in between(prediction, wanted, path, t))
    found = on_x * path.interpolate(x0, noise, t) + on_f * target(prediction, path, x0, noise, t)
    torch.testing.assert_close(found, target(wanted, path, x0, noise, t), rtol=1e-9, atol=1e-9)
