"""The coefficients against diffusers' schedulers, with an arbitrary nonlinear prediction.

diffusers counts discrete timesteps n; genuq's time is t = (n + 1) / 1000."""

from __future__ import annotations

import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    DPMSolverSinglestepScheduler,
)

from genuq.processes import VariancePreserving
from genuq.solvers import DPMSolver2, DPMSolverPlusPlus2M
from support.gaussian_toy import run
from support.schedulers import BETAS, predict, schedules, tensors, their_predictions, time_of


def by_scheduler(theirs, x: torch.Tensor) -> torch.Tensor:
    for timestep in theirs.timesteps:
        x = theirs.step(predict(x, time_of(timestep)), timestep, x).prev_sample
    return x


@schedules
@their_predictions
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
@their_predictions
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
