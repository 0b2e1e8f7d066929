"""First-order solvers: DDIM(eta), DDPM ancestral with a fixed or a learned variance, Euler."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from genuq.errors import ConfigurationError
from genuq.parts.bounds import Probability
from genuq.processes import Predicted, Process
from genuq.solvers.affine import AffineStage, Point, Solver, linear_in_hats
from genuq.solvers.register import SOLVERS


@SOLVERS.add(label="DDIM")
class DDIM(Solver):
    """x_s = alpha_s x0_hat + sqrt(sigma_s^2 - n^2) eps_hat + n xi, n = eta times the ancestral noise.

    Args:
        eta: 0 is deterministic, 1 is DDPM's ancestral sampler.

    Source: Song, Meng & Ermon 2021, eq. 12 and 16, for any (alpha, sigma).
    """

    name = "ddim"

    def __init__(self, eta: Probability = 0.0) -> None:
        if not 0 <= eta <= 1:
            raise ConfigurationError(f"sampler.eta = {eta} is outside [0, 1].")
        self.eta = eta

    def stages(self, process: Process, prediction: Predicted, times: Sequence[float]) -> list[AffineStage]:
        return [ddim_stage(here, there, self.eta) for here, there in pairwise(self.path(process, prediction, times))]


@SOLVERS.add(label="DDPM, ancestral")
class DDPM(DDIM):
    """Ancestral sampling (Ho et al. 2020) on any grid, with the posterior ("small") variance; DDIM with eta = 1."""

    name = "ddpm"

    def __init__(self) -> None:
        super().__init__(eta=1.0)


@SOLVERS.add(label="DDPM, learned variance")
class DDPMLearned(Solver):
    """Ancestral sampling whose variance the network says, pixel by pixel: ADM's sampler.

    Between the posterior variance given x_0 and that of the forward step on this grid, evenly in their logarithms; the
    mean is DDPM's. The step to x0_hat has no noise.

    Source: Nichol & Dhariwal 2021, Improved Denoising Diffusion Probabilistic Models, equation 15 and section 4.
    """

    name, learned_variance = "ddpm_learned", True

    def stages(self, process: Process, prediction: Predicted, times: Sequence[float]) -> list[AffineStage]:
        steps = pairwise(self.path(process, prediction, times))
        return [learned_stage(here, there) for here, there in steps]


@SOLVERS.add(label="Euler")
class Euler(Solver):
    """x_s = x_t + (s - t) v, v the velocity of the probability-flow ODE.

    On the flow-matching path this is DDIM; on variance-preserving ones it is first order in t.
    """

    name = "euler"

    def stages(self, process: Process, prediction: Predicted, times: Sequence[float]) -> list[AffineStage]:
        return [euler_stage(here, there) for here, there in pairwise(self.path(process, prediction, times))]


def ddim_stage(here: Point, there: Point, eta: float = 0.0) -> AffineStage:
    noise = eta * ancestral_noise(here, there) if eta else 0.0
    direction = math.sqrt(max(there.sigma**2 - noise**2, 0.0))
    on_x, on_f = linear_in_hats(here, x0=there.alpha, eps=direction)
    return AffineStage(here.t, there.t, (on_x,), (on_f,), noise)


def learned_stage(here: Point, there: Point) -> AffineStage:
    """An ancestral step between the least variance, of q(x_s | x_t, x_0), and the most, of q(x_t | x_s)."""
    least = ddim_stage(here, there, eta=1.0)
    if not least.noise:
        return least
    kept = here.alpha / there.alpha * there.sigma / here.sigma  # squared, the share of sigma_t^2 that x_s has
    return replace(least, noise_high=here.sigma * math.sqrt(max(1 - kept**2, 0.0)))


def ancestral_noise(here: Point, there: Point) -> float:
    """Standard deviation of q(x_s | x_t, x_0): sigma_s sqrt(1 - (alpha_t sigma_s / (alpha_s sigma_t))^2)."""
    if there.sigma == 0:
        return 0.0
    ratio = here.alpha * there.sigma / (there.alpha * here.sigma)
    return there.sigma * math.sqrt(max(1 - ratio**2, 0.0))


def velocity_weights(here: Point) -> tuple[float, float]:
    """(coefficient of x_t, coefficient of f) of the velocity alpha' x0_hat + sigma' eps_hat."""
    return linear_in_hats(here, x0=here.d_alpha, eps=here.d_sigma)


def euler_stage(here: Point, there: Point) -> AffineStage:
    """One Euler step; the last one, to t = 0, goes to x0_hat."""
    if there.t == 0:
        return ddim_stage(here, there)
    on_x, on_f = velocity_weights(here)
    step = there.t - here.t
    return AffineStage(here.t, there.t, (1 + step * on_x,), (step * on_f,))
