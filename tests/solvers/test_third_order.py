"""DPM-Solver-3 beside its formulas in plain float64, and beside diffusers where that has them."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from diffusers import DPMSolverSinglestepScheduler

from genuq.processes import FlowMatching, VariancePreserving, conversion
from genuq.solvers import DPMSolver3, apply
from support.gaussian_toy import PATHS, run
from support.schedulers import BETAS, predict, tensors


def by_hand(path, prediction: str, x: torch.Tensor, times: list[float]) -> torch.Tensor:
    """Algorithm 2 of Lu et al. 2022, of a made-up network."""

    def noise(x: torch.Tensor, t: float) -> torch.Tensor:
        *_, on_x, on_f = (float(number) for number in conversion(prediction, path, t))
        return on_x * x + on_f * predict(x, t)

    for t, s in pairwise(times):
        lambda_t, lambda_s = float(path.half_log_snr(t)), float(path.half_log_snr(s))
        h = lambda_s - lambda_t
        u, v = (float(path.time_at(lambda_t + share * h)) for share in (1 / 3, 2 / 3))
        alpha, sigma = ([float(part(time)) for time in (t, u, v, s)] for part in (path.alpha, path.sigma))
        eps = noise(x, t)
        at_u = alpha[1] / alpha[0] * x - sigma[1] * (math.exp(h / 3) - 1) * eps
        bend = noise(at_u, u) - eps
        at_v = alpha[2] / alpha[0] * x - sigma[2] * (math.exp(2 * h / 3) - 1) * eps
        at_v = at_v - 2 * sigma[2] * ((math.exp(2 * h / 3) - 1) / (2 * h / 3) - 1) * bend
        bend = noise(at_v, v) - eps
        x = alpha[3] / alpha[0] * x - sigma[3] * (math.exp(h) - 1) * eps
        x = x - 1.5 * sigma[3] * ((math.exp(h) - 1) / h - 1) * bend
    return x


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "flow"])
def test_it_is_the_papers(path, prediction: str) -> None:
    (x,), times = tensors(1), [0.9, 0.6, 0.35, 0.1]
    found = run(DPMSolver3().stages(path, prediction, times), predict, x)
    torch.testing.assert_close(found, by_hand(path, prediction, x, times), rtol=1e-9, atol=1e-9)


def test_a_step_ends_as_diffusers_does_from_the_same_predictions() -> None:
    """Its second auxiliary state is another (DPM-Solver-2's with r = 1/2), so that whole runs differ."""
    theirs = DPMSolverSinglestepScheduler(
        1000,
        solver_order=3,
        algorithm_type="dpmsolver",
        use_exponential_sigmas=True,
        final_sigmas_type="sigma_min",
        **BETAS["scaled_linear"],
    )
    theirs.set_timesteps(9)
    path, (x, *noises) = VariancePreserving("scaled_linear"), tensors(4)
    times, state = path.time_at(-theirs.sigmas.double().log()).tolist(), x
    for noise, timestep in zip(noises, theirs.timesteps):
        state = theirs.step(noise, timestep, state).prev_sample
    *_, last = DPMSolver3().stages(path, "epsilon", [times[0], times[3]])
    nothing = torch.zeros_like(x)
    found = apply(last, [nothing, nothing, x], noises[::-1], None)
    torch.testing.assert_close(found, state, rtol=2e-3, atol=2e-3)


def test_evaluations_are_three_a_step_and_one_for_the_last() -> None:
    stages = DPMSolver3().sampling_stages(FlowMatching(), "flow", 17, "uniform_log_snr")
    assert len(stages) == 49 and [stage.intermediate for stage in stages[:4]] == [True, True, False, True]
