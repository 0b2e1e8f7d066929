"""The exact Gaussian case cut at one time, and a judge that knows what is good there."""

from __future__ import annotations

import torch
from torch import Tensor

from genuq.applications import Cut, Judgement, cut_samples
from genuq.bench.gaussian import gaussian_case
from genuq.models import Sampler
from genuq.processes import FlowMatching
from genuq.solvers import Euler

CASE = gaussian_case(FlowMatching(), "flow", noise=0.05)
MODEL, POSTERIOR = CASE.model, CASE.posterior
SAMPLER = Sampler(Euler(), steps=10)
TIME = SAMPLER.stages(MODEL)[1].t_next  # 0.8


def cut(samples: int = 6) -> Cut:
    return cut_samples(MODEL, POSTERIOR, SAMPLER, range(samples), 0.8)


def finished_by_hand(state: Tensor, t: float, steps: int) -> Tensor:
    """The state at time t carried to x_0 by Euler steps along the exact prediction, float64."""
    x = state.double()
    for step in range(steps):
        time = t * (1 - step / steps)
        slope, intercept = CASE.network.line(round(time, 12))
        x = x - t / steps * (slope * x + intercept)
    return x


def by_brightness(samples: Tensor, classes: Tensor | None) -> Judgement:
    """Likes bright images."""
    features = samples.flatten(1)
    return Judgement(features, {"confidence": features.mean(1).double(), "accuracy": (features.mean(1) > 0).double()})


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
