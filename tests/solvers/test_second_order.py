"""The coefficients against diffusers' schedulers, with an arbitrary nonlinear prediction.

diffusers counts discrete timesteps n; genuq's time is t = (n + 1) / 1000.
"""

from __future__ import annotations

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    DPMSolverSinglestepScheduler,
    FlowMatchEulerDiscreteScheduler,
)

from genuq.processes import FlowMatching, VariancePreserving
from genuq.solvers import DDIM, DDPM, DPMSolver2, DPMSolverPlusPlus2M, Euler, apply
from support.gaussian_toy import run

BETAS = {
    "linear": {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"},
    "scaled_linear": {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"},
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
}
PREDICTIONS = ["epsilon", "sample", "v_prediction"]
schedules = pytest.mark.parametrize("schedule", BETAS)
predictions = pytest.mark.parametrize("prediction", PREDICTIONS)


def tensors(count: int) -> list[torch.Tensor]:
    source = torch.Generator().manual_seed(3)
    return [torch.randn(2, 3, generator=source, dtype=torch.float64) for _ in range(count)]


def time_of(timestep: float) -> float:
    return (float(timestep) + 1) / 1000


@schedules
@predictions
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
@predictions
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


def predict(x: torch.Tensor, t: float) -> torch.Tensor:
    return torch.tanh(x) * (1 + t)


def by_scheduler(theirs, x: torch.Tensor) -> torch.Tensor:
    for timestep in theirs.timesteps:
        x = theirs.step(predict(x, time_of(timestep)), timestep, x).prev_sample
    return x


@schedules
@predictions
def test_dpm_solver_pp_2m_whole_runs(schedule, prediction):
    theirs = DPMSolverMultistepScheduler(
        1000, prediction_type=prediction, solver_order=2, final_sigmas_type="zero", **BETAS[schedule]
    )
    theirs.set_timesteps(20)
    (x,) = tensors(1)
    times = [*(time_of(timestep) for timestep in theirs.timesteps), 0.0]
    found = run(DPMSolverPlusPlus2M().stages(VariancePreserving(schedule), prediction, times), predict, x)
    torch.testing.assert_close(found, by_scheduler(theirs, x), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear"])
@predictions
def test_dpm_solver_2_steps_over_midpoints_in_log_snr(schedule, prediction):
    """diffusers takes the intermediate point from its grid; geometric sigmas make that the middle in lambda."""
    theirs = DPMSolverSinglestepScheduler(
        1000,
        prediction_type=prediction,
        solver_order=2,
        algorithm_type="dpmsolver",
        use_exponential_sigmas=True,
        final_sigmas_type="sigma_min",
        **BETAS[schedule],
    )
    theirs.set_timesteps(20)
    path, (x,) = VariancePreserving(schedule), tensors(1)
    times = path.time_at(-theirs.sigmas.double().log()).tolist()
    here, found = x, x
    for index in range(0, 20, 2):
        f = predict(here, times[index])
        middle = theirs.step(f, theirs.timesteps[index], here).prev_sample
        here = theirs.step(predict(middle, times[index + 1]), theirs.timesteps[index + 1], middle).prev_sample
        stages = DPMSolver2().stages(path, prediction, [times[index], times[index + 2]])
        found = run(stages, predict, found)
        torch.testing.assert_close(found, here, rtol=2e-3, atol=2e-3)


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
