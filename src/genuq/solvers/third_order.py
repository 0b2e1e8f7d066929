"""A third-order solver: DPM-Solver-3 (singlestep)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from genuq.processes import Predicted, Process
from genuq.solvers.affine import AffineStage, Point, Solver, linear_in_hats, points
from genuq.solvers.first_order import ddim_stage
from genuq.solvers.register import SOLVERS

FIRST, SECOND = 1 / 3, 2 / 3  # of a step in lambda: r1 and r2 of the source


@SOLVERS.add(label="DPM-Solver-3")
class DPMSolver3(Solver):
    """DPM-Solver-3, singlestep with r1 = 1/3 and r2 = 2/3, in half log SNR; three evaluations a step.

    With h the step in lambda, u and v the points a third and two thirds of the way, eps_t, eps_u, eps_v the noise
    predicted at the start and there:
    x_u = (alpha_u / alpha_t) x_t - sigma_u (e^(h/3) - 1) eps_t,
    x_v = (alpha_v / alpha_t) x_t - sigma_v (e^(2h/3) - 1) eps_t - 2 sigma_v phi(2h/3) (eps_u - eps_t),
    x_s = (alpha_s / alpha_t) x_t - sigma_s (e^h - 1) eps_t - 3/2 sigma_s phi(h) (eps_v - eps_t),
    phi(h) = (e^h - 1) / h - 1. The step to t = 0, where lambda is infinite, is first order.
    Source: Lu et al. 2022, algorithm 2.
    """

    name, order, in_log_snr = "dpm_solver_3", 3, True

    def stages(self, process: Process, prediction: Predicted, times: Sequence[float]) -> list[AffineStage]:
        path = self.path(process, prediction, times)
        lambdas = torch.tensor([here.half_log_snr for here in path], dtype=torch.float64)
        between = [
            points(process, prediction, process.time_at((1 - share) * lambdas[:-1] + share * lambdas[1:]))
            for share in (FIRST, SECOND)
        ]
        stages: list[AffineStage] = []
        for here, first, second, there in zip(path, *between, path[1:]):
            if there.sigma == 0:
                stages.append(ddim_stage(here, there))
            else:
                stages += third_order_step(here, first, second, there)
        return stages


def third_order_step(here: Point, first: Point, second: Point, there: Point) -> list[AffineStage]:
    """The three stages of a step over two points between its ends."""
    step = there.half_log_snr - here.half_log_snr
    to_first = ddim_stage(here, first)
    bent = -second.sigma * (SECOND / FIRST) * _phi(SECOND * step)
    plain = -second.sigma * math.expm1(SECOND * step) - bent
    first_x, first_f = linear_in_hats(first, eps=bent)
    here_x, here_f = linear_in_hats(here, x=second.alpha / here.alpha, eps=plain)
    to_second = AffineStage(first.t, second.t, (first_x, here_x), (first_f, here_f), intermediate=True)
    bent = -there.sigma / SECOND * _phi(step)
    plain = -there.sigma * math.expm1(step) - bent
    second_x, second_f = linear_in_hats(second, eps=bent)
    here_x, here_f = linear_in_hats(here, x=there.alpha / here.alpha, eps=plain)
    to_end = AffineStage(second.t, there.t, (second_x, 0.0, here_x), (second_f, 0.0, here_f))
    return [AffineStage(here.t, first.t, to_first.x, to_first.f, intermediate=True), to_second, to_end]


def _phi(step: float) -> float:
    """(e^h - 1) / h - 1."""
    return math.expm1(step) / step - 1
