"""Sampling from a cut: the same samples where nothing is changed, the right steps where a solver has forgotten."""

from __future__ import annotations

import pytest
import torch

from genuq.bench.gaussian import gaussian_case
from genuq.errors import ConfigurationError
from genuq.models import Sampler, StageRecord, Steering, finish_latents, grid_times, sample_latents, stages_from
from genuq.processes import VariancePreserving
from genuq.solvers import DDIM, DDPM, DPMSolver2, DPMSolverPlusPlus2M, Euler, Heun, Solver
from support.gaussian_toy import PATHS

CASE = gaussian_case(PATHS["flow_matching"], "flow")
MODEL = CASE.model
ONE_STEP = [Euler(), Heun(), DDIM(0.5), DDPM(), DPMSolver2()]


def recorded(sampler: Sampler, model=MODEL) -> tuple[torch.Tensor, list[StageRecord]]:
    records: list[StageRecord] = []
    return sample_latents(model, sampler, range(3), observers=[records.append]), records


@pytest.mark.parametrize("spacing", ["uniform_time", "uniform_log_snr"])
@pytest.mark.parametrize("solver", ONE_STEP, ids=lambda solver: f"{solver.name}-{getattr(solver, 'eta', '')}")
def test_from_its_own_state_a_sample_is_the_same_bit_for_bit(solver: Solver, spacing: str) -> None:
    sampler = Sampler(solver, steps=6, spacing=spacing)
    whole, records = recorded(sampler)
    states = {records[0].stage.t: records[0].states[0]}
    states |= {record.stage.t_next: record.result for record in records if not record.stage.intermediate}
    times = grid_times(MODEL, sampler)
    assert len(times) == 7
    for t in times[:-1]:
        assert torch.equal(finish_latents(MODEL, sampler, range(3), states[t], t), whole)
    alone = finish_latents(MODEL, sampler, [2], states[times[3]][2:], times[3])
    torch.testing.assert_close(alone, whole[2:])


def test_a_multistep_solver_starts_anew_with_a_first_order_step() -> None:
    process = VariancePreserving("linear")
    model = gaussian_case(process, "epsilon").model
    sampler = Sampler(DPMSolverPlusPlus2M(), steps=8)
    whole, records = recorded(sampler, model)
    times = grid_times(model, sampler)
    passed, left = stages_from(model, sampler, times[3])
    assert len(passed) == 3 and len(left) == 5
    assert len(left[0].x) == 1 and len(sampler.stages(model)[3].x) == 2
    first = DDIM().stages(process, "epsilon", times[3:5])[0]
    assert left[0].x == pytest.approx(first.x) and left[0].f == pytest.approx(first.f)
    finished = finish_latents(model, sampler, range(3), records[2].result, times[3])
    difference = (finished - whole).abs().max()
    assert 0 < difference < 0.05  # of data that spread by about 0.7: one step of lower order
    again = finish_latents(model, sampler, range(3), records[0].states[0], times[0])
    assert torch.equal(again, whole)  # at the start there is no history to lose


class Doubling(Steering):
    """Doubles every prediction, and adds one to every state."""

    def prediction(self, stage, x, prediction):
        return 2 * prediction

    def state(self, stage, x):
        return x + 1


def test_steering_changes_predictions_and_states() -> None:
    sampler = Sampler(steps=3)
    x = sampler.initial_noise(MODEL, range(2))
    steered = sample_latents(MODEL, sampler, range(2), steering=Doubling())
    for stage in sampler.stages(MODEL):
        with torch.no_grad():
            f = MODEL(x, torch.full((2,), stage.t))
        x = stage.x[0] * x + stage.f[0] * 2 * f + 1
    torch.testing.assert_close(steered, x)


@pytest.mark.parametrize(
    ("t", "message"),
    [
        (0.3, r"t = 0\.3 is no time of the grid.*nearest one is 0\.25"),
        (0.0, r"t = 0 is the end of the grid.*Cut earlier"),
        (1.2, r"t = 1\.2 is no time of the grid"),
    ],
)
def test_other_cuts_are_refused(t: float, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        finish_latents(MODEL, Sampler(steps=4), range(2), torch.zeros(2, 1, 8, 8), t)
