"""Stages as plain numbers: always finite, in order, ending at x0_hat; `apply` against a loop; errors."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from genuq.errors import ConfigurationError
from genuq.processes import PREDICTIONS, FlowMatching, Process, VariancePreserving, conversion
from genuq.solvers import DDIM, SOLVERS, AffineStage, DPMSolver2, DPMSolverPlusPlus2M, Euler, Heun, apply, build, grid
from support.gaussian_toy import PATHS, run


class VarianceExploding(Process):
    """Somebody's own: alpha = 1, sigma = 80 t."""

    def alpha(self, t):
        return torch.ones_like(torch.as_tensor(t, dtype=torch.float64))

    def sigma(self, t):
        return 80 * torch.as_tensor(t, dtype=torch.float64)

    def derivatives(self, t):
        return torch.zeros_like(self.alpha(t)), 80 * self.alpha(t)

    def time_at(self, half_log_snr):
        return (-torch.as_tensor(half_log_snr, dtype=torch.float64)).exp() / 80


NAMES = [name for name in SOLVERS if name != "scheduler"]  # which stands for one that a model brings
CASES = list(itertools.product(NAMES, PATHS, PREDICTIONS))


@pytest.mark.parametrize("name,path,prediction", CASES)
@pytest.mark.parametrize("spacing,steps", [("uniform_time", 1), ("uniform_time", 15), ("uniform_log_snr", 4)])
def test_a_run_is_finite_goes_down_and_ends_at_x0_hat(name, path, prediction, spacing, steps):
    stages = SOLVERS.make(name).sampling_stages(PATHS[path], prediction, steps, spacing)
    numbers = [number for stage in stages for number in (*stage.x, *stage.f, stage.noise)]
    assert all(math.isfinite(number) for number in numbers)
    assert all(stage.t > stage.t_next or not stage.intermediate for stage in stages)
    assert all(before.t_next == after.t for before, after in itertools.pairwise(stages))
    last, expected = stages[-1], conversion(prediction, PATHS[path], stages[-1].t)
    assert last.t_next == 0
    assert last.noise == 0
    assert last.x[0] == pytest.approx(float(expected.x0_x), rel=1e-12, abs=1e-12)
    assert last.f[0] == pytest.approx(float(expected.x0_f), rel=1e-12, abs=1e-12)
    assert not any((*last.x[1:], *last.f[1:]))


@pytest.mark.parametrize("name,per_step", [("ddim", 1), ("dpm_solver_pp_2m", 1), ("heun", 2), ("dpm_solver_2", 2)])
def test_evaluations_a_step_and_one_for_the_last(name, per_step):
    assert len(SOLVERS.make(name).sampling_stages(FlowMatching(), "flow", 10)) == 9 * per_step + 1


@pytest.mark.parametrize("solver", [Heun(), DPMSolver2()])
def test_auxiliary_states_are_marked(solver):
    stages = solver.sampling_stages(VariancePreserving(), "epsilon", 3)
    assert [stage.intermediate for stage in stages] == [True, False, True, False, False]


def test_heun_is_the_trapezoidal_rule():
    """On the straight path with f = velocity: x + (s - t) / 2 (f(x, t) + f(x_euler, s))."""
    to_end, correct = Heun().stages(FlowMatching(), "flow", [0.8, 0.6])
    x, f, f_end = torch.randn(3, 4, dtype=torch.float64)
    predicted = apply(to_end, [x], [f], None)
    torch.testing.assert_close(predicted, x - 0.2 * f)
    torch.testing.assert_close(apply(correct, [predicted, x], [f_end, f], None), x - 0.1 * (f + f_end))


def test_apply_is_the_sum_of_its_terms():
    source = torch.Generator().manual_seed(0)
    states = list(torch.randn(3, 2, 5, generator=source, dtype=torch.float64))
    predictions = list(torch.randn(2, 2, 5, generator=source, dtype=torch.float64))
    noise = torch.randn(2, 5, generator=source, dtype=torch.float64)
    stage = AffineStage(0.5, 0.4, (0.3, 0.0, -1.2), (2.0, -0.7), noise=0.9)
    expected = torch.empty(2, 5, dtype=torch.float64)
    for row, column in itertools.product(range(2), range(5)):
        total = stage.noise * float(noise[row, column])
        for weight, tensor in [*zip(stage.x, states), *zip(stage.f, predictions)]:
            total += weight * float(tensor[row, column])
        expected[row, column] = total
    kept = [tensor.clone() for tensor in (*states, *predictions)]
    torch.testing.assert_close(apply(stage, states, predictions, noise), expected, rtol=1e-14, atol=1e-14)
    assert all(torch.equal(tensor, before) for tensor, before in zip((*states, *predictions), kept))


def test_a_weight_of_zero_ignores_what_it_multiplies():
    stage = AffineStage(0.5, 0.0, (0.0,), (1.0,))
    found = apply(stage, [torch.full((3,), math.nan)], [torch.ones(3)], None)
    assert torch.equal(found, torch.ones(3))


def test_start_is_pure_noise_unless_the_snr_would_vanish():
    flow, linear, cosine = (PATHS[name] for name in ("flow_matching", "linear", "cosine"))
    assert Euler().start(flow, "flow") == 1.0
    assert DDIM().start(flow, "epsilon") == pytest.approx(0.999, abs=1e-12)
    assert DPMSolverPlusPlus2M().start(flow, "flow") == pytest.approx(0.999, abs=1e-12)
    assert DPMSolver2().start(linear, "epsilon") == 1.0
    assert DDIM().start(cosine, "v_prediction") == 1.0
    start = DDIM().start(cosine, "epsilon")
    assert float(cosine.alpha(start)) == pytest.approx(1e-3, rel=2e-3)


@pytest.mark.parametrize("solver", [DPMSolver2(), DPMSolverPlusPlus2M(), DDIM(), Euler(), Heun()])
def test_no_run_starts_beyond_the_end_of_a_process(solver):
    """alpha = 1, sigma = 80 t has at t = 1 a higher SNR than flow matching at 0.999; 12.49 is no time of it."""
    stages = solver.sampling_stages(VarianceExploding(), "epsilon", 400)
    assert stages[0].t == 1.0
    x = 80 * torch.tensor([[-1.5], [0.5], [1.0]], dtype=torch.float64)
    found = run(stages, lambda x, t: 80 * t / (1 + (80 * t) ** 2) * x, x)  # data N(0, 1)
    torch.testing.assert_close(found, x / math.sqrt(1 + 80**2), rtol=0, atol=0.15)


def test_grids_begin_at_the_start_and_end_at_zero():
    uniform = grid(FlowMatching(), 4, start=0.8)
    assert uniform == pytest.approx([0.8, 0.6, 0.4, 0.2, 0.0])
    path = VariancePreserving()
    by_snr = grid(path, 5, spacing="uniform_log_snr")
    steps = torch.tensor([float(path.half_log_snr(t)) for t in by_snr[:-1]]).diff()
    assert by_snr[-1] == 0.0
    assert by_snr[0] == pytest.approx(0.999)
    assert by_snr[-2] == pytest.approx(1e-3)
    torch.testing.assert_close(steps, torch.full((4,), float(steps[0])), rtol=1e-5, atol=0)


@pytest.mark.parametrize("steps", [0, -3])
def test_fewer_than_one_step_is_refused(steps):
    with pytest.raises(ConfigurationError, match=f"sampler.steps = {steps}"):
        Euler().sampling_stages(FlowMatching(), "flow", steps)


def test_unknown_spacing_is_refused():
    with pytest.raises(ConfigurationError, match=r"sampler.spacing = 'cubic'; choose uniform_time"):
        grid(FlowMatching(), 5, spacing="cubic")


@pytest.mark.parametrize("name", NAMES)
def test_a_grid_of_one_time_is_refused(name):
    with pytest.raises(ConfigurationError, match="at least two times"):
        SOLVERS.make(name).stages(FlowMatching(), "flow", [0.5])


@pytest.mark.parametrize("name", ["ddim", "ddpm", "euler", "heun"])
def test_epsilon_from_pure_noise_is_refused_not_infinite(name):
    with pytest.raises(ConfigurationError, match="infinite coefficients"):
        SOLVERS.make(name).stages(FlowMatching(), "epsilon", [1.0, 0.5, 0.0])


@pytest.mark.parametrize("solver", [DPMSolver2(), DPMSolverPlusPlus2M()])
def test_infinite_log_snr_at_the_start_is_refused(solver):
    with pytest.raises(ConfigurationError, match="log SNR is infinite at the first time, t = 1"):
        solver.stages(FlowMatching(), "flow", [1.0, 0.5, 0.0])


def test_names_and_options_of_solvers():
    assert build("ddim", eta=0.25).eta == 0.25
    with pytest.raises(ConfigurationError, match="Did you mean 'dpm_solver_2'"):
        build("dpm_solver2")
    with pytest.raises(ConfigurationError, match="'euler' has no option 'eta'"):
        build("euler", eta=0.5)
