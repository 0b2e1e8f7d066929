"""DDPM, DDIM(eta) and Euler: moments under a linear prediction; diffusers' schedulers under another."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    FlowMatchEulerDiscreteScheduler,
)

from genuq.errors import ConfigurationError
from genuq.processes import PREDICTIONS, FlowMatching, VariancePreserving, conversion
from genuq.solvers import DDIM, DDPM, DDPMLearned, Euler, apply, build, grid
from support.gaussian_toy import DEVIATION, MEAN, PATHS, affine_prediction, marginal, run
from support.schedulers import BETAS, predict, schedules, tensors, their_predictions, time_of

paths = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
predictions = pytest.mark.parametrize("prediction", PREDICTIONS)


def final_moments(stages, path, prediction: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance at the end, from the marginal at the start, by the linear-Gaussian recursion."""
    mean, variance = marginal(path, stages[0].t)
    for stage in stages:
        slope, intercept = affine_prediction(path, prediction, stage.t)
        (on_x,), (on_f,) = stage.x, stage.f
        gain = on_x + on_f * slope
        mean, variance = gain * mean + on_f * intercept, gain.square() * variance + stage.noise**2
    return mean, variance


@paths
@predictions
@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_moments_converge_to_the_data_at_first_order(path, prediction, eta):
    errors = []
    for steps in (40, 80):
        mean, variance = final_moments(DDIM(eta).sampling_stages(path, prediction, steps), path, prediction)
        errors.append(float(torch.cat([mean - MEAN, variance.sqrt() - DEVIATION]).abs().max()))
    assert errors[1] < 0.08
    assert 0.85 < math.log2(errors[0] / errors[1]) < 1.3


@paths
@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_marginals_are_exact_for_a_single_image_whatever_eta(path, eta):
    """With one point of data, x0_hat is exact and x_s must be N(alpha_s x_0, sigma_s^2) after every stage."""
    times = [0.95, 0.7, 0.3, 0.05, 0.0]
    deviation, centre = float(path.sigma(times[0])), float(path.alpha(times[0]))
    for stage in DDIM(eta).stages(path, "sample", times):  # f = x_0 = 1
        (on_x,), (on_f,) = stage.x, stage.f
        centre, deviation = on_x * centre + on_f, math.hypot(on_x * deviation, stage.noise)
        assert centre == pytest.approx(float(path.alpha(stage.t_next)), abs=1e-12)
        assert deviation == pytest.approx(float(path.sigma(stage.t_next)), abs=1e-12)


@paths
def test_ddpm_noise_is_the_posteriors(path):
    """Var(x_s | x_t, x_0) by Gaussian conditioning of x_s on x_t, where x_t given x_s is Markov."""
    for t, s in ((0.9, 0.5), (0.5, 0.45), (0.2, 0.01)):
        ratio = float(path.alpha(t) / path.alpha(s))
        forward = float(path.sigma(t)) ** 2 - ratio**2 * float(path.sigma(s)) ** 2
        precision = 1 / float(path.sigma(s)) ** 2 + ratio**2 / forward
        (stage,) = DDPM().stages(path, "epsilon", [t, s])
        assert stage.noise**2 == pytest.approx(1 / precision, rel=1e-9)


def test_simulated_samples_have_the_moments_of_the_recursion():
    path = PATHS["flow_matching"]
    stages = DDPM().sampling_stages(path, "flow", 12)
    source = torch.Generator().manual_seed(0)
    centre, variance = marginal(path, 1.0)
    x = centre + variance.sqrt() * torch.randn(100_000, 3, generator=source, dtype=torch.float64)
    for stage in stages:
        slope, intercept = affine_prediction(path, "flow", stage.t)
        x = apply(stage, [x], [slope * x + intercept], torch.randn(x.shape, generator=source, dtype=torch.float64))
    mean, variance = final_moments(stages, path, "flow")
    torch.testing.assert_close(x.mean(0), mean, rtol=0, atol=5 * float(variance.max().sqrt()) / math.sqrt(100_000))
    torch.testing.assert_close(x.var(0), variance, rtol=5 * math.sqrt(2 / 100_000), atol=0)


@paths
@predictions
def test_ddpm_is_ddim_with_full_noise(path, prediction):
    times = grid(path, 10, start=0.99)
    assert DDPM().stages(path, prediction, times) == DDIM(1.0).stages(path, prediction, times)


@paths
def test_the_last_stage_has_no_noise_and_gives_x0_hat(path):
    last = DDPM().sampling_stages(path, "v_prediction", 7)[-1]
    expected = conversion("v_prediction", path, last.t)
    assert last.noise == 0
    assert (last.x[0], last.f[0]) == pytest.approx((float(expected.x0_x), float(expected.x0_f)))


@pytest.mark.parametrize("eta", [-0.1, 1.5, math.nan])
def test_eta_outside_its_range_is_refused(eta):
    with pytest.raises(ConfigurationError, match=r"solver .ddim.: eta = .*; it must lie in \[0, 1\]"):
        build("ddim", eta=eta)


@schedules
@their_predictions
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_ddim_steps(schedule, prediction, eta):
    theirs = DDIMScheduler(1000, prediction_type=prediction, clip_sample=False, **BETAS[schedule])
    theirs.set_timesteps(20)
    x, f, noise = tensors(3)
    for here in (950, 500, 50):
        expected = theirs.step(f, here, x, eta=eta, variance_noise=noise).prev_sample
        (stage,) = DDIM(eta).stages(VariancePreserving(schedule), prediction, [time_of(here), time_of(here - 50)])
        torch.testing.assert_close(apply(stage, [x], [f], noise), expected, rtol=1e-4, atol=1e-4)


@schedules
@their_predictions
def test_ddpm_steps(schedule, prediction):
    theirs = DDPMScheduler(
        1000, prediction_type=prediction, clip_sample=False, variance_type="fixed_small", **BETAS[schedule]
    )
    theirs.set_timesteps(20)
    x, f = tensors(2)
    for here in (950, 500, 50):
        expected = theirs.step(f, here, x, generator=torch.Generator().manual_seed(here)).prev_sample
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(here), dtype=x.dtype)
        (stage,) = DDPM().stages(VariancePreserving(schedule), prediction, [time_of(here), time_of(here - 50)])
        torch.testing.assert_close(apply(stage, [x], [f], noise), expected, rtol=1e-4, atol=1e-4)


def test_euler_is_the_flow_matching_scheduler():
    theirs = FlowMatchEulerDiscreteScheduler(1000)
    theirs.set_timesteps(10)
    (x,) = tensors(1)
    expected = x
    for index, timestep in enumerate(theirs.timesteps):
        t = float(theirs.sigmas[index])
        expected = theirs.step(predict(expected, t), timestep, expected).prev_sample
    found = run(Euler().stages(FlowMatching(), "flow", theirs.sigmas.tolist()), predict, x)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def respaced(schedule: str, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(timesteps, their alpha^2, betas between them) of a table of 1000, written out (Nichol & Dhariwal 2021)."""
    chosen = np.round(np.linspace(0, 999, count)).astype(int)
    table = DDPMScheduler(1000, **BETAS[schedule]).betas.double().numpy()
    kept = np.cumprod(1 - table)[chosen]
    return chosen, kept, 1 - kept / np.concatenate([[1.0], kept[:-1]])


@schedules
def test_learned_variances_are_those_of_the_respaced_chain(schedule):
    """Mean and bounds of q(x_s | x_t, x_0) of a chain of its own, by its betas alone."""
    chosen, kept, betas = respaced(schedule, 20)
    before = np.concatenate([[1.0], kept[:-1]])
    times = [time_of(step) for step in chosen[::-1]] + [0.0]
    stages = DDPMLearned().stages(VariancePreserving(schedule), "sample", times)
    for place, stage in enumerate(stages[:-1]):
        k = 19 - place
        assert stage.noise**2 == pytest.approx(betas[k] * (1 - before[k]) / (1 - kept[k]), rel=2e-4)
        assert stage.noise_high**2 == pytest.approx(betas[k], rel=2e-4)
        assert stage.x[0] == pytest.approx(np.sqrt(1 - betas[k]) * (1 - before[k]) / (1 - kept[k]), rel=2e-4)
        assert stage.f[0] == pytest.approx(np.sqrt(before[k]) * betas[k] / (1 - kept[k]), rel=2e-4)
    assert (stages[-1].noise, stages[-1].noise_high) == (0, None)


@schedules
@pytest.mark.parametrize("prediction", ["epsilon", "sample"])
def test_a_learned_variance_steps_as_diffusers(schedule, prediction):
    theirs = DDPMScheduler(
        1000, prediction_type=prediction, clip_sample=False, variance_type="learned_range", **BETAS[schedule]
    )
    theirs.set_timesteps(20)
    source = torch.Generator().manual_seed(3)
    x, f, said = (torch.randn(2, 3, 2, generator=source, dtype=torch.float64) for _ in range(3))
    for here in (950, 500, 50):
        answer = torch.cat([f, said], dim=1)
        expected = theirs.step(answer, here, x, generator=torch.Generator().manual_seed(here)).prev_sample
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(here), dtype=x.dtype)
        times = [time_of(here), time_of(here - 50)]
        (stage,) = DDPMLearned().stages(VariancePreserving(schedule), prediction, times)
        found = apply(stage, [x], [f], noise * stage.learned_noise(said) / stage.noise)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@paths
def test_a_learned_variance_lies_between_its_bounds(path):
    stage = DDPMLearned().stages(path, "sample", [0.6, 0.4])[0]
    low, middle, high = stage.learned_noise(torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)).tolist()
    assert (low, high) == pytest.approx((stage.noise, stage.noise_high))
    assert middle == pytest.approx(math.sqrt(low * high)) and low < high
    assert stage.noise == DDPM().stages(path, "sample", [0.6, 0.4])[0].noise
