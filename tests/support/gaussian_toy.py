"""Data N(m, diag(s^2)): the prediction, the probability-flow map and the ancestral moments are known in closed form.

Along the probability-flow ODE the standardised coordinate (x_t - alpha m) / sqrt(alpha^2 s^2 + sigma^2) of each
dimension is constant, because the flow is linear and carries the marginals into one another.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from genuq.processes import FlowMatching, Process, VariancePreserving
from genuq.solvers import AffineStage, apply

MEAN = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
DEVIATION = torch.tensor([0.2, 0.7, 1.5], dtype=torch.float64)
PATHS: dict[str, Process] = {
    "flow_matching": FlowMatching(),
    "linear": VariancePreserving("linear"),
    "cosine": VariancePreserving("cosine"),
    "zero_snr": VariancePreserving("linear_zero_snr"),
}


def marginal(path: Process, t: float) -> tuple[Tensor, Tensor]:
    """Mean and variance of x_t."""
    return path.alpha(t) * MEAN, (path.alpha(t) * DEVIATION).square() + path.sigma(t).square()


@functools.cache
def affine_prediction(path: Process, prediction: str, t: float) -> tuple[Tensor, Tensor]:
    """(slope, intercept) of the exact prediction E[f | x_t] = slope x_t + intercept, by Gaussian conditioning.

    f is written out here, not taken from genuq: noise, data, alpha eps - sigma x_0, alpha' x_0 + sigma' eps, ...
    """
    alpha, sigma = path.alpha(t), path.sigma(t)
    on_data, on_noise = {
        "epsilon": lambda: (0.0, 1.0),
        "sample": lambda: (1.0, 0.0),
        "v_prediction": lambda: (-sigma, alpha),
        "flow": lambda: path.derivatives(t),
        "minus_flow": lambda: tuple(-part for part in path.derivatives(t)),
        "edm": lambda: (sigma / 0.5, -0.5 * alpha),
    }[prediction]()
    centre, variance = marginal(path, t)
    slope = (on_data * alpha * DEVIATION.square() + on_noise * sigma) / variance  # Cov(f, x_t) / Var(x_t)
    return slope, on_data * MEAN - slope * centre


def transported(path: Process, x: Tensor, t: float, s: float) -> Tensor:
    """x at time t carried to time s by the exact probability flow."""
    (mean_t, variance_t), (mean_s, variance_s) = marginal(path, t), marginal(path, s)
    return mean_s + (x - mean_t) / variance_t.sqrt() * variance_s.sqrt()


def run(stages: Sequence[AffineStage], predict: Callable[[Tensor, float], Tensor], x: Tensor) -> Tensor:
    """A deterministic run of the stages."""
    states: list[Tensor] = []
    predictions: list[Tensor] = []
    for stage in stages:
        states, predictions = [x, *states], [predict(x, stage.t), *predictions]
        x = apply(stage, states, predictions, None)
    return x


def exact_prediction(path: Process, prediction: str) -> Callable[[Tensor, float], Tensor]:
    def predict(x: Tensor, t: float) -> Tensor:
        slope, intercept = affine_prediction(path, prediction, t)
        return slope * x + intercept

    return predict
