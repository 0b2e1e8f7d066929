"""A solver is a list of affine stages with explicit coefficients.

Samplers, uncertainty propagation and tests all read the same numbers. The network is evaluated once a stage:

    f_0 = f(x_0, t);   x_next = sum_i x[i] x_i + sum_j f[j] f_j + noise * xi,   xi ~ N(0, I)

where x_0, x_1, ... are the states and f_0, f_1, ... the predictions of this and the earlier stages, newest first.
First-order solvers use one of each; multistep ones look back; singlestep ones have intermediate stages.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genuq.errors import ConfigurationError
from genuq.processes import Predicted, Process, conversion
from genuq.solvers.grids import LOWEST_HALF_LOG_SNR, UNIFORM, Spacing, grid


@dataclass(frozen=True)
class AffineStage:
    """One evaluation of the network and the affine update that follows.

    Attributes:
        t: time of the evaluation.
        t_next: time of the state it leads to.
        x: coefficients of the current and the earlier states, newest first.
        f: coefficients of the current and the earlier predictions, newest first.
        noise: coefficient of fresh standard normal noise; with `noise_high` the least that it can be.
        noise_high: the most that it can be where the network says how large it is (`learned_noise`); None: `noise`.
        intermediate: True if the next state is only an auxiliary point of a singlestep method.
        network_time: what the network is told of the time, where it is not what the process says of t.
        start: of the first stage, the coefficient of the initial noise in its state; None: sigma(t).

    Raises:
        ConfigurationError: a coefficient is not finite (`epsilon` says nothing of x_0 where alpha = 0).
    """

    t: float
    t_next: float
    x: tuple[float, ...]
    f: tuple[float, ...]
    noise: float = 0.0
    intermediate: bool = False
    network_time: float | None = None
    start: float | None = None
    noise_high: float | None = None

    def __post_init__(self) -> None:
        if not all(math.isfinite(number) for number in (*self.x, *self.f, self.noise, self.noise_high or 0.0)):
            raise ConfigurationError(
                f"The step from t = {self.t:g} to {self.t_next:g} has infinite coefficients: the prediction type does "
                "not determine the step there. Start nearer to the data, or choose another model.prediction."
            )

    def network_times(self, x: Tensor) -> Tensor | None:
        """What the network is told at states x (B, ...), float32 (B,) on their device; None: what the process says."""
        if self.network_time is None:
            return None
        return torch.full((len(x),), self.network_time, device=x.device, dtype=torch.float32)

    def learned_noise(self, said: Tensor) -> Tensor:
        """The coefficient of noise, in the shape of what the network says of it: -1 is the least, 1 the most.

        Its logarithm goes evenly from the one to the other, and on where the network says more, as in the source:
        Nichol & Dhariwal 2021, equation 15.
        """
        assert self.noise_high is not None, "the noise of this stage is fixed"
        return self.noise * (0.5 * math.log(self.noise_high / self.noise) * (said + 1)).exp()

    def initial_state(self, process: Process, noise: Tensor) -> Tensor:
        """The state that a run which begins with this stage starts from, of standard normal noise (B, ...)."""
        return noise * (float(process.sigma(self.t)) if self.start is None else self.start)


class Point(NamedTuple):
    """The process at one grid time, as float64 numbers, with the conversion (x, f) -> (x0_hat, eps_hat)."""

    t: float
    alpha: float
    sigma: float
    d_alpha: float
    d_sigma: float
    half_log_snr: float
    x0_x: float
    x0_f: float
    eps_x: float
    eps_f: float


def points(process: Process, prediction: Predicted, times: Sequence[float] | Tensor) -> list[Point]:
    """The process and the conversion at each of the times."""
    time_T = torch.as_tensor(times, dtype=torch.float64)
    paths = (process.alpha(time_T), process.sigma(time_T), *process.derivatives(time_T), process.half_log_snr(time_T))
    rows = torch.stack([time_T, *paths, *conversion(prediction, process, time_T)], dim=1)
    return [Point(*row) for row in rows.tolist()]


class Solver(ABC):
    """Turns a grid of times into stages.

    Attributes:
        order: of convergence on the probability-flow ODE (1, 2 or 3).
        in_log_snr: whether it steps in half log SNR, which must then be finite at the start.
        learned_variance: whether the network must say how much noise a step has.
    """

    name: str
    order: int = 1
    in_log_snr: bool = False
    learned_variance: bool = False

    def of(self, model: Any) -> Solver:
        """The solver as this model has it."""
        return self

    @abstractmethod
    def stages(self, process: Process, prediction: Predicted, times: Sequence[float]) -> list[AffineStage]:
        """Stages from times[0] down to times[-1].

        Args:
            process: the path.
            prediction: what f means.
            times: decreasing, T + 1 of them; a final 0 means: end at x0_hat, the path's least noise, and a second 0
                without any.
        """

    def path(self, process: Process, prediction: Predicted, times: Sequence[float]) -> list[Point]:
        """The points of a grid that this solver can walk.

        Raises:
            ConfigurationError: fewer than two times, or an infinite log SNR at the first for a solver that steps in it.
        """
        if len(times) < 2:
            raise ConfigurationError(f"A solver needs at least two times, not {len(times)}.")
        found = points(process, prediction, times)
        if self.in_log_snr and not math.isfinite(found[0].half_log_snr):
            raise ConfigurationError(
                f"The log SNR is infinite at the first time, t = {times[0]:g}, and this solver steps in it. "
                "Start nearer to the data."
            )
        if times[-1] == times[-2]:
            found[-1] = found[-1]._replace(sigma=0.0, half_log_snr=math.inf)
        return found

    def start(self, process: Process, prediction: Predicted) -> float:
        """The first time: 1, or where the SNR is that of flow matching at t = 0.999 if it falls lower on the way.

        Only for solvers in log SNR and for `epsilon`: they divide by alpha, so that an alpha near 0 (5e-5 at the end of
        a cosine schedule) would magnify rounding and the network's error thousands of times.
        """
        if self.in_log_snr or prediction == "epsilon":
            return min(1.0, float(process.time_at(LOWEST_HALF_LOG_SNR)))  # a process may be defined beyond its end
        return 1.0

    def sampling_stages(
        self, process: Process, prediction: Predicted, steps: int, spacing: Spacing = UNIFORM
    ) -> list[AffineStage]:
        """Stages of a whole sampling run with `steps` steps, ending at x0_hat.

        Raises:
            ConfigurationError: fewer than one step, or an unknown spacing.
        """
        return self.stages(process, prediction, grid(process, steps, self.start(process, prediction), spacing))

    def evaluations(self, process: Process, prediction: Predicted, steps: int, spacing: Spacing = UNIFORM) -> int:
        """Evaluations of the network in a whole sampling run."""
        return len(self.sampling_stages(process, prediction, steps, spacing))


def linear_in_hats(here: Point, x: float = 0.0, x0: float = 0.0, eps: float = 0.0) -> tuple[float, float]:
    """(coefficient of x_t, coefficient of f) of the combination x * x_t + x0 * x0_hat + eps * eps_hat at one point.

    A zero weight never touches an infinite conversion coefficient.
    """
    on_x, on_f = x, 0.0
    for weight, per_x, per_f in ((x0, here.x0_x, here.x0_f), (eps, here.eps_x, here.eps_f)):
        if weight:
            on_x, on_f = on_x + weight * per_x, on_f + weight * per_f
    return on_x, on_f


def evaluations(stages: Sequence[AffineStage]) -> int:
    """Network evaluations of one sample."""
    return len(stages)


def apply(stage: AffineStage, states: Sequence[Tensor], predictions: Sequence[Tensor], noise: Tensor | None) -> Tensor:
    """The next state from the states and predictions so far (newest first) and noise of the state's shape."""
    terms = [*zip(stage.x, states), *zip(stage.f, predictions)]
    if stage.noise:
        assert noise is not None, "this stage needs noise"
        terms.append((stage.noise, noise))
    total = torch.zeros_like(states[0])
    for weight, tensor in terms:
        if weight:
            total.add_(tensor, alpha=weight)
    return total
