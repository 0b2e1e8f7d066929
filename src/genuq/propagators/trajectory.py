"""`trajectory`: the weights' effect on f along the unperturbed trajectory, carried to x_0, in closed form."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from genuq.errors import ConfigurationError
from genuq.models import StageRecord
from genuq.processes import Process
from genuq.processes.prediction import target_coefficients
from genuq.propagators.propagator import Follower, Journey, Propagator
from genuq.solvers import apply


@dataclass(frozen=True)
class Trajectory(Propagator):
    """One weight draw for the whole trajectory, without any further evaluation of the network.

    The head is linear, so the change of f under weights w + v is v a, with a the head's input. Through an affine
    solver the change of the state is v psi: the features themselves go through the solver's coefficients, and one
    closed-form variance at the end, psi^T Sigma psi, is that of the whole sum. Unlike a sum of the steps' variances it
    does not shrink with the number of steps.

    How f answers to the changed state is taken from data of one variance, f = slope(t) x, the same at every pixel.

    Args:
        data_variance: of a pixel of x_0 given its neighbours, in squared units of the latents; what lies between 0.03
            and 0.3 gives about the right sum on the shipped models (experiments/propagation_brute_force). None holds
            the states fixed: the solver's coefficients alone carry the change, and the result then depends on the
            prediction type (a thousand times too large for epsilon).

    Source: relatives in arXiv 2606.13451 and 2602.09170; the closed form is ours.
    """

    data_variance: float | None = 0.1
    name = "trajectory"

    def __post_init__(self) -> None:
        if self.data_variance is not None and not 0 < self.data_variance < float("inf"):
            raise ConfigurationError(
                f"propagator.data_variance = {self.data_variance}; it must be positive and finite, or null."
            )

    def follow(self, journey: Journey) -> Follower:
        return _Follower(journey, self.data_variance)


class _Follower(Follower):
    """psi of the newest states and predictions, newest first: features, and the coefficient of the bias."""

    def __init__(self, journey: Journey, data_variance: float | None) -> None:
        self.network, self.memory, self.data_variance = journey.network, journey.memory, data_variance
        self.state, self.now = journey.start, _nothing()
        self.states: list[tuple[Tensor, Tensor]] = []
        self.predictions: list[tuple[Tensor, Tensor]] = []

    def __call__(self, record: StageRecord) -> None:
        model = self.network.model
        slope = 0.0
        if self.data_variance is not None:
            slope = gaussian_slope(model.process, model.prediction, record.stage.t, self.data_variance)
        features, one = self.network.features, torch.ones((), dtype=torch.float64)
        self.precision = features.dtype
        here = self.now if self.states else (torch.zeros_like(features, dtype=torch.float64), self.now[1])
        self.states = [here, *self.states][: self.memory]
        prediction = (features + slope * here[0], one + slope * here[1])
        self.predictions = [prediction, *self.predictions][: self.memory]
        stage = replace(record.stage, noise=0.0)
        psi, bias = (
            apply(stage, [state[part] for state in self.states], [f[part] for f in self.predictions], None)
            for part in (0, 1)
        )
        self.now, self.state = (psi, bias), record.result

    @property
    def mean(self) -> Tensor:
        return self.state.double()

    @property
    def variance(self) -> Tensor:
        """psi^T Sigma psi; the head appends a 1 for the bias, so psi is divided by its own coefficient of it."""
        psi, bias = self.now
        if not self.predictions:
            return torch.zeros_like(self.state, dtype=torch.float64)
        scale = bias if bias != 0 else torch.full_like(bias, 1e-12)
        return self.network.predictive_variance((psi / scale.to(psi.device)).to(self.precision)) * scale.square()


def _nothing() -> tuple[Tensor, Tensor]:
    return torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)


def gaussian_slope(process: Process, prediction: str, t: float, data_variance: float) -> float:
    """d E[f | x_t] / d x_t for data of independent pixels of this variance: Cov(f, x_t) / Var(x_t)."""
    alpha, sigma = float(process.alpha(t)), float(process.sigma(t))
    on_data, on_noise = (float(number) for number in target_coefficients(prediction, process, t))
    return (on_data * alpha * data_variance + on_noise * sigma) / (alpha**2 * data_variance + sigma**2)
