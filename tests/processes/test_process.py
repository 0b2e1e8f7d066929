"""The paths against diffusers' tables, finite differences and autograd in float64."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers import DDPMScheduler

from genuq.errors import ConfigurationError
from genuq.processes import FlowMatching, VariancePreserving

SCHEDULES = {"linear": "linear", "scaled_linear": "scaled_linear", "cosine": "squaredcos_cap_v2"}
PUBLISHED_BETAS = {"linear": (1e-4, 0.02), "scaled_linear": (0.00085, 0.012), "cosine": (1e-4, 0.02)}
ZERO_SNR = [f"{schedule}_zero_snr" for schedule in SCHEDULES]
PATHS = [FlowMatching(), *(VariancePreserving(schedule) for schedule in (*SCHEDULES, *ZERO_SNR))]
IDS = ["flow_matching", *SCHEDULES, *ZERO_SNR]


def random_times(count: int = 500, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
    source = torch.Generator().manual_seed(0)
    return low + (high - low) * torch.rand(count, generator=source, dtype=torch.float64)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_discrete_timestep_is_diffusers_table(schedule):
    first, last = PUBLISHED_BETAS[schedule]
    table = DDPMScheduler(1000, beta_start=first, beta_end=last, beta_schedule=SCHEDULES[schedule]).alphas_cumprod
    path, times = VariancePreserving(schedule), (torch.arange(1000, dtype=torch.float64) + 1) / 1000
    torch.testing.assert_close(path.alpha(times).square(), table.double(), rtol=5e-5, atol=1e-9)  # theirs is float32
    torch.testing.assert_close(path.sigma(times).square(), 1 - table.double(), rtol=5e-5, atol=2e-7)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_zero_terminal_snr_is_diffusers_rescaled_table(schedule):
    """Lin et al. 2024, algorithm 1: sqrt(abar) shifted to 0 at the end, scaled so that its first entry stays."""
    first, last = PUBLISHED_BETAS[schedule]
    options = {"beta_start": first, "beta_end": last, "beta_schedule": SCHEDULES[schedule]}
    table = DDPMScheduler(1000, **options, rescale_betas_zero_snr=True).alphas_cumprod.double()
    path, times = VariancePreserving(f"{schedule}_zero_snr"), (torch.arange(1000, dtype=torch.float64) + 1) / 1000
    torch.testing.assert_close(path.alpha(times).square(), table, rtol=2e-4, atol=1e-7)  # theirs is float32
    assert float(path.alpha(1.0)) == 0.0 and float(path.sigma(1.0)) == 1.0
    assert float(path.alpha(1e-3)) == pytest.approx(float(VariancePreserving(schedule).alpha(1e-3)), rel=1e-14)


def test_linear_table_is_the_product_in_exact_arithmetic():
    abar, found = 1.0, VariancePreserving("linear")
    for n in range(1000):
        abar *= 1 - (1e-4 + n / 999 * (0.02 - 1e-4))
        if n in (0, 1, 499, 999):
            assert float(found.alpha((n + 1) / 1000)) ** 2 == pytest.approx(abar, rel=1e-12)


@pytest.mark.parametrize("path", PATHS, ids=IDS)
def test_clean_data_at_zero_and_almost_pure_noise_at_one(path):
    assert float(path.alpha(0.0)) == 1.0
    assert float(path.sigma(0.0)) == 0.0
    assert math.copysign(1.0, float(path.sigma(0.0))) == 1.0, "a negative zero would turn infinities around"
    assert float(path.alpha(1.0)) < 0.07
    assert float(path.sigma(1.0)) > 0.99


@pytest.mark.parametrize("path", PATHS[1:], ids=IDS[1:])
def test_variance_is_preserved_and_the_path_is_monotone(path):
    times = torch.linspace(0, 1, 5003, dtype=torch.float64)
    alpha, sigma = path.alpha(times), path.sigma(times)
    torch.testing.assert_close(alpha.square() + sigma.square(), torch.ones_like(times), rtol=0, atol=1e-14)
    assert (alpha.diff() < 0).all()
    assert (sigma.diff() > 0).all()


@pytest.mark.parametrize("path", PATHS, ids=IDS)
def test_derivatives_are_autograds(path):
    times = random_times(low=1e-4)
    for value, derivative in zip((path.alpha, path.sigma), path.derivatives(times)):
        leaf = times.clone().requires_grad_()
        (expected,) = torch.autograd.grad(value(leaf).sum(), leaf)
        torch.testing.assert_close(derivative.expand_as(expected), expected, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("path", PATHS, ids=IDS)
def test_derivatives_are_central_differences_also_across_the_nodes_of_the_table(path):
    """A kink at every node would make the one-sided derivative wrong there, and Heun's method first order."""
    times, step = torch.arange(100, 900, dtype=torch.float64) / 1000, 1e-7
    for value, derivative in zip((path.alpha, path.sigma), path.derivatives(times)):
        expected = (value(times + step) - value(times - step)) / (2 * step)
        torch.testing.assert_close(derivative, expected, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("path", PATHS, ids=IDS)
def test_time_at_inverts_half_log_snr(path):
    times = torch.cat(
        [random_times(), torch.arange(1, 1000, dtype=torch.float64) / 1000, torch.tensor([1e-6, 1 - 1e-6])]
    )
    torch.testing.assert_close(path.time_at(path.half_log_snr(times)), times, rtol=0, atol=1e-12)


@pytest.mark.parametrize("path", PATHS, ids=IDS)
def test_infinite_log_snr_is_an_end_of_the_path(path):
    assert path.half_log_snr(0.0) == math.inf
    assert float(path.time_at(math.inf)) == 0.0
    assert float(path.time_at(-math.inf)) == 1.0


@pytest.mark.parametrize("path", PATHS, ids=IDS)
def test_coefficients_keep_the_shape_of_t_and_are_double(path):
    times = torch.rand(2, 3)
    for value in (path.alpha(times), path.sigma(times), *path.derivatives(times), path.half_log_snr(times)):
        assert value.shape == (2, 3)
        assert value.dtype == torch.float64


@pytest.mark.parametrize("timesteps", [100, 4000])
def test_other_table_lengths_keep_the_amount_of_noise(timesteps):
    found, reference = VariancePreserving("linear", timesteps), VariancePreserving("linear")
    assert float(found.half_log_snr(0.5)) == pytest.approx(float(reference.half_log_snr(0.5)), abs=0.05)


def test_a_table_too_short_for_its_betas_is_refused():
    with pytest.raises(ConfigurationError, match=r"train_timesteps = 10 .*beta of 2"):
        VariancePreserving("linear", 10)
    with pytest.raises(ConfigurationError, match="at least 2"):
        VariancePreserving("cosine", 1)
