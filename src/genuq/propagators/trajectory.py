"""`trajectory`: the weights' effect on f along the unperturbed trajectory, carried to x_0, in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from genuq.models import StageRecord
from genuq.parts.bounds import Positive, check_fields
from genuq.processes import Predicted, Process
from genuq.processes.prediction import target_coefficients
from genuq.propagators.propagator import Follower, Journey, Propagator
from genuq.propagators.register import PROPAGATORS
from genuq.solvers import AffineStage, apply

_NO_BIAS = 1e-12  # in place of a coefficient of exactly 0


@PROPAGATORS.add(label="Trajectory")
@dataclass(frozen=True)
class Trajectory(Propagator):
    """One weight draw for the whole trajectory, without any further evaluation of the network.

    The head is linear, so the change of f under weights w + v is v a, with a the head's input. Through an affine
    solver the change of the state is v psi: the features themselves go through the solver's coefficients, and one
    closed-form variance at the end, psi^T Sigma psi, is that of the whole sum. Unlike a sum of the steps' variances it
    does not shrink with the number of steps.

    How f answers to the changed state is taken from data of one variance, f = slope(t) x, the same at every pixel. That
    is exact for such data and crude for images: on the shipped models the maps correlate with regenerations by 0.2 to
    0.6, where `coherent` with 8 draws reaches 0.7 to 0.9 (experiments/propagation_brute_force).

    Args:
        data_variance: of a pixel of x_0 given its neighbours, in squared units of the latents; what lies between 0.03
            and 0.3 gives about the right sum on the shipped models. None holds
            the states fixed: the solver's coefficients alone carry the change, and the result then depends on the
            prediction type (for epsilon it is a thousand times too large in the exact Gaussian case).

    Source: relatives in arXiv 2606.13451 and 2602.09170; the closed form is ours.
    """

    data_variance: Positive | None = 0.1
    name = "trajectory"

    def __post_init__(self) -> None:
        check_fields(self, "propagator")

    def follow(self, journey: Journey) -> Follower:
        model, slopes = journey.network.model, [0.0] * len(journey.stages)
        if self.data_variance is not None:
            slopes = [
                gaussian_slope(model.process, model.prediction, stage.t, self.data_variance) for stage in journey.stages
            ]
        return _Follower(journey, transport(journey.stages, slopes))


class _Follower(Follower):
    """psi of each state that is asked for, as a running sum over the evaluations; float64."""

    def __init__(self, journey: Journey, weights_SS: Tensor) -> None:
        self.network, self.state, self.weights_SS = journey.network, journey.start, weights_SS
        self.asked = sorted({*journey.kept, len(journey.stages) - 1})
        self.sums: dict[int, Tensor] = {}
        self.stage = -1

    def __call__(self, record: StageRecord) -> None:
        self.stage, self.state = self.stage + 1, record.result
        features = self.network.features
        self.precision = features.dtype
        for target in self.asked:
            if target >= self.stage:
                weight = float(self.weights_SS[target, self.stage])
                if target not in self.sums:
                    self.sums[target] = torch.zeros_like(features, dtype=torch.float64)
                self.sums[target].add_(features, alpha=weight)

    @property
    def mean(self) -> Tensor:
        return self.state.double()

    @property
    def variance(self) -> Tensor:
        """psi^T Sigma psi; the head appends a 1 for the bias, so psi is divided by its own coefficient of it."""
        if self.stage < 0:
            return torch.zeros_like(self.state, dtype=torch.float64)
        bias = float(self.weights_SS[self.stage].sum()) or _NO_BIAS
        psi = (self.sums[self.stage] / bias).to(self.precision)
        return self.network.predictive_variance(psi) * bias**2


def transport(stages: Sequence[AffineStage], slopes: Sequence[float]) -> Tensor:
    """(S, S): how the state that stage k leads to changes with prediction s, where f answers to the state by `slopes`.

    The solver's own coefficients, applied to unit changes of each prediction.
    """
    count = len(stages)
    memory = max(max(len(stage.x), len(stage.f)) for stage in stages)
    states, predictions = [torch.zeros(count, dtype=torch.float64)], list[Tensor]()
    units, rows = torch.eye(count, dtype=torch.float64), []
    for stage, slope, unit in zip(stages, slopes, units):
        predictions = [unit + slope * states[0], *predictions][:memory]
        rows.append(apply(replace(stage, noise=0.0), states, predictions, None))
        states = [rows[-1], *states][:memory]
    return torch.stack(rows)


def gaussian_slope(process: Process, prediction: Predicted, t: float, data_variance: float) -> float:
    """d E[f | x_t] / d x_t for data of independent pixels of this variance: Cov(f, x_t) / Var(x_t)."""
    alpha, sigma = float(process.alpha(t)), float(process.sigma(t))
    on_data, on_noise = (float(number) for number in target_coefficients(prediction, process, t))
    return (on_data * alpha * data_variance + on_noise * sigma) / (alpha**2 * data_variance + sigma**2)
