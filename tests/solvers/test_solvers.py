"""Order of convergence on Gaussian data with the exact prediction, measured by doubling the steps."""

from __future__ import annotations

import math

import pytest
import torch

from genuq.processes import PREDICTIONS
from genuq.solvers import SOLVERS, build
from support.gaussian_toy import PATHS, exact_prediction, marginal, run, transported

START, END = 0.9, 0.1
X = torch.tensor([[0.5, -1.2, 0.3], [1.0, 0.4, -0.7]], dtype=torch.float64)
DETERMINISTIC = ["ddim", "euler", "heun", "heun_sigma", "dpm_solver_2", "dpm_solver_pp_2m", "dpm_solver_3"]
all_cases = [
    pytest.mark.parametrize("path", PATHS.values(), ids=PATHS),
    pytest.mark.parametrize("prediction", PREDICTIONS),
    pytest.mark.parametrize("name", DETERMINISTIC),
]


def every_case(test):
    for mark in all_cases:
        test = mark(test)
    return test


def error(name: str, path, prediction: str, steps: int) -> float:
    times = torch.linspace(START, END, steps + 1, dtype=torch.float64).tolist()
    found = run(build(name).stages(path, prediction, times), exact_prediction(path, prediction), X)
    return float((found - transported(path, X, START, END)).abs().max())


@every_case
def test_error_falls_with_the_order_of_the_solver(name, path, prediction):
    coarse, fine = error(name, path, prediction, 40), error(name, path, prediction, 80)
    order = math.log2(coarse / fine)
    lowest, highest, most = {1: (0.9, 1.2, 0.02), 2: (1.8, 2.3, 5e-4), 3: (2.6, 3.4, 2e-5)}[
        SOLVERS[name].resolve().order
    ]
    assert fine < most and lowest < order < highest


@every_case
def test_a_whole_run_ends_at_the_exact_sample(name, path, prediction):
    solver = build(name)
    start = solver.start(path, prediction)
    centre, variance = marginal(path, start)
    x = centre + variance.sqrt() * torch.tensor([[-1.5, 0.5, 1.0]], dtype=torch.float64)
    errors = []
    for steps in (10, 40):
        stages = solver.sampling_stages(path, prediction, steps)
        found = run(stages, exact_prediction(path, prediction), x)
        errors.append(float((found - transported(path, x, start, 0.0)).abs().max()))
    assert errors[1] < 0.12
    assert errors[1] < errors[0] / 2.5


@pytest.mark.parametrize("name", ["ddim", "dpm_solver_2", "dpm_solver_pp_2m"])
def test_the_grid_uniform_in_log_snr_converges_too(name):
    path, x = PATHS["linear"], X
    stages = build(name).sampling_stages(path, "epsilon", 100, spacing="uniform_log_snr")
    found = run(stages, exact_prediction(path, "epsilon"), x)
    torch.testing.assert_close(
        found, transported(path, x, stages[0].t, 0.0), rtol=0, atol=0.06 if name == "ddim" else 3e-3
    )


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_ddim_run_upwards_inverts_ddim(path):
    """The usual inversion of real images: noise from data by the same stages, from t = 0."""
    times = torch.linspace(0, 0.9, 201, dtype=torch.float64).tolist()
    solver, predict = build("ddim"), exact_prediction(path, "v_prediction")
    up = run(solver.stages(path, "v_prediction", times), predict, X)
    torch.testing.assert_close(up, transported(path, X, 0.0, 0.9), rtol=0, atol=0.12)
    down = run(solver.stages(path, "v_prediction", times[::-1]), predict, up)
    torch.testing.assert_close(down, X, rtol=0, atol=0.05)
