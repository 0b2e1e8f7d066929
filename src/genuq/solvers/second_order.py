"""Second-order solvers: Heun in t and in sigma, DPM-Solver-2 (singlestep), DPM-Solver++(2M) (multistep)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch

from genuq.processes import Predicted, Process
from genuq.solvers.affine import AffineStage, Point, Solver, linear_in_hats, points
from genuq.solvers.first_order import ddim_stage, euler_stage, velocity_weights
from genuq.solvers.register import SOLVERS


@SOLVERS.add(label="Heun")
class Heun(Solver):
    """Trapezoidal rule on the probability-flow ODE; two evaluations a step, the last step is Euler's to x0_hat.

    Source: Karras et al. 2022, algorithm 1, in the time t of the process.
    """

    name, order = "heun", 2

    def stages(self, process: Process, prediction: Predicted, times: Sequence[float]) -> list[AffineStage]:
        path = self.path(process, prediction, times)
        stages: list[AffineStage] = []
        for here, there in pairwise(path):
            predictor = self.predictor(here, there)
            if there is path[-1] and there.t == 0:
                stages.append(predictor)
                continue
            stages.append(AffineStage(here.t, there.t, predictor.x, predictor.f, intermediate=True))
            stages.append(self.corrector(here, there))
        return stages

    def predictor(self, here: Point, there: Point) -> AffineStage:
        """Euler's step."""
        return euler_stage(here, there)

    def corrector(self, here: Point, there: Point) -> AffineStage:
        """Half of the step with each of the two slopes."""
        half = 0.5 * (there.t - here.t)
        here_x, here_f = velocity_weights(here)
        there_x, there_f = velocity_weights(there)
        return AffineStage(there.t, there.t, (half * there_x, 1 + half * here_x), (half * there_f, half * here_f))


@SOLVERS.add(label="Heun in sigma (EDM)")
class HeunSigma(Heun):
    """Heun's method in the noise over the data, sigma / alpha, in which x / alpha has the slope eps_hat.

    On the grid of `sampler.spacing=karras` this is EDM's deterministic sampler.

    Source: Karras et al. 2022, algorithm 1.
    """

    name, in_log_snr = "heun_sigma", True

    def predictor(self, here: Point, there: Point) -> AffineStage:
        return ddim_stage(here, there)

    def corrector(self, here: Point, there: Point) -> AffineStage:
        half = 0.5 * there.alpha * (there.sigma / there.alpha - here.sigma / here.alpha)
        here_x, here_f = linear_in_hats(here, x=there.alpha / here.alpha, eps=half)
        there_x, there_f = linear_in_hats(there, eps=half)
        return AffineStage(there.t, there.t, (there_x, here_x), (there_f, here_f))


@SOLVERS.add(label="DPM-Solver-2")
class DPMSolver2(Solver):
    """DPM-Solver-2, singlestep with r1 = 1/2: a midpoint method in half log SNR; two evaluations a step.

    x_s = (alpha_s / alpha_t) x_t - sigma_s (e^h - 1) eps_hat(u), u the point half way in lambda.
    The step to t = 0, where lambda is infinite, is first order.
    Source: Lu et al. 2022, algorithm 1.
    """

    name, order, in_log_snr = "dpm_solver_2", 2, True

    def stages(self, process: Process, prediction: Predicted, times: Sequence[float]) -> list[AffineStage]:
        path = self.path(process, prediction, times)
        lambdas = torch.tensor([here.half_log_snr for here in path], dtype=torch.float64)
        middles = points(process, prediction, process.time_at(0.5 * (lambdas[:-1] + lambdas[1:])))
        stages: list[AffineStage] = []
        for here, middle, there in zip(path, middles, path[1:]):
            if there.sigma == 0:
                stages.append(ddim_stage(here, there))
                continue
            to_middle = ddim_stage(here, middle)
            stages.append(AffineStage(here.t, middle.t, to_middle.x, to_middle.f, intermediate=True))
            growth = math.expm1(there.half_log_snr - here.half_log_snr)
            middle_x, middle_f = linear_in_hats(middle, eps=-there.sigma * growth)
            stages.append(AffineStage(middle.t, there.t, (middle_x, there.alpha / here.alpha), (middle_f, 0.0)))
        return stages


@SOLVERS.add(label="DPM-Solver++(2M)")
class DPMSolverPlusPlus2M(Solver):
    """DPM-Solver++(2M): multistep in half log SNR on the data prediction; one evaluation a step.

    x_s = (sigma_s / sigma_t) x_t - alpha_s (e^-h - 1) D,
    D = (1 + 1/2r) x0_hat_t - (1/2r) x0_hat_before, r = h_before / h.
    The first step and the step to t = 0 are first order.
    Source: Lu et al. 2022b, algorithm 2.
    """

    name, order, in_log_snr = "dpm_solver_pp_2m", 2, True

    def stages(self, process: Process, prediction: Predicted, times: Sequence[float]) -> list[AffineStage]:
        path = self.path(process, prediction, times)
        stages = [ddim_stage(path[0], path[1])]
        for before, here, there in zip(path, path[1:], path[2:]):
            stages.append(ddim_stage(here, there) if there.sigma == 0 else multistep_stage(before, here, there))
        return stages


def multistep_stage(before: Point, here: Point, there: Point) -> AffineStage:
    step = there.half_log_snr - here.half_log_snr
    extrapolation = 0.5 * step / (here.half_log_snr - before.half_log_snr)
    data_weight = -there.alpha * math.expm1(-step)
    here_x, here_f = linear_in_hats(here, x=there.sigma / here.sigma, x0=data_weight * (1 + extrapolation))
    before_x, before_f = linear_in_hats(before, x0=-data_weight * extrapolation)
    return AffineStage(here.t, there.t, (here_x, before_x), (here_f, before_f))
