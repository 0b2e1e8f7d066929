"""The published procedures as their users write them, on laplace-torch and diffusers, for a U-Net of flow matching.

Generative uncertainty (DIFF-UQ, Jazbec et al. 2025): diagonal empirical Fisher of the last layer, at unit noise and
unit prior precision; six samplings by diffusers' scheduler, one with the trained weights and five with drawn ones; the
entropy of their embeddings. Maps (BayesDiff, Kou et al. 2024): at each step states drawn from N(E, V) for the
covariance, and many draws of the head for the variance. Written from the papers' formulas, plainly: these are the slow
twins of what genuq does in closed form.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from genuq.models import GenerativeModel
from genuq.posteriors.fitting.regression import RegressionBatch

LAPLACE_DIFFUSERS = "laplace-torch, diffusers"
MODULES = ("laplace", "backpack", "diffusers")  # what they need installed


class Task(NamedTuple):
    """What is sampled: initial noise (N, C, H, W), the class of each or None, and in how many steps and batches."""

    noise: Tensor
    classes: Tensor | None
    steps: int
    batch_size: int


class _HeadInputs:
    """A loader of (input of the head, flat target) for laplace-torch, made by a forward pass a batch."""

    def __init__(self, model: GenerativeModel, batches: Sequence[RegressionBatch]) -> None:
        self.model, self.batches = model, batches
        self.dataset = range(sum(len(batch.x) for batch in batches))  # laplace-torch asks for its length

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in self.batches:
            features, _ = head_inputs(self.model, batch.x, batch.t, batch.y)
            yield features, F.pixel_unshuffle(batch.target, stem_of(self.model)).flatten(1)


def stem_of(model: GenerativeModel) -> int:
    """Pixels of a side that an output position of the head stands for: a pixel shuffle comes behind it."""
    return int(getattr(model.network, "stem", 1))


@torch.no_grad()
def head_inputs(model: GenerativeModel, x: Tensor, t: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
    """(what the head was given, the network's prediction)."""
    seen: list[Tensor] = []
    handle = model.head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    try:
        prediction = model(x, t, y)
    finally:
        handle.remove()
    return seen[0], prediction


def fitted_head(model: GenerativeModel, batches: Sequence[RegressionBatch]) -> Any:
    """laplace-torch's diagonal posterior of the head by the empirical Fisher, at its default scale."""
    import laplace
    from laplace.curvature import BackPackEF

    head = nn.Sequential(copy.deepcopy(model.head), nn.Flatten())  # it reads outputs as (B, outputs)
    posterior: Any = laplace.Laplace(
        head, "regression", subset_of_weights="all", hessian_structure="diag", backend=BackPackEF
    )
    posterior.fit(_HeadInputs(model, batches))
    return posterior


@contextlib.contextmanager
def head_weights(model: GenerativeModel, weights: Tensor) -> Iterator[None]:
    """The model with these weights of the head, as one vector, while it lasts."""
    parameters = list(model.head.parameters())
    own = parameters_to_vector(parameters).detach().clone()
    vector_to_parameters(weights, parameters)
    try:
        yield
    finally:
        vector_to_parameters(own, parameters)


@torch.no_grad()
def sampled(model: GenerativeModel, task: Task) -> Tensor:
    """Images in [-1, 1] by diffusers' Euler scheduler of flow matching."""
    found = []
    for start in range(0, len(task.noise), task.batch_size):
        rows = slice(start, start + task.batch_size)
        y = None if task.classes is None else task.classes[rows]
        found.append(_trajectory(model, task.noise[rows], y, task.steps))
    return torch.cat(found).clamp(-1, 1)


def _trajectory(model: GenerativeModel, x: Tensor, y: Tensor | None, steps: int) -> Tensor:
    scheduler = _scheduler(steps)
    for time in scheduler.timesteps:
        prediction = model(x, (time / 1000).expand(len(x)), y)
        x = scheduler.step(prediction, time, x).prev_sample
    return x


def _scheduler(steps: int) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler: Any = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1.0 / steps, steps))
    return scheduler


def regenerated(model: GenerativeModel, task: Task, head_draws: Tensor) -> Tensor:
    """(N, 1 + M, C, H, W): the samples with the trained weights, then with each of M drawn heads."""
    versions = [sampled(model, task)]
    for weights in head_draws:
        with head_weights(model, weights):
            versions.append(sampled(model, task))
    return torch.stack(versions, 1)


def entropy(embeddings_NMD: Tensor, observation_variance: float) -> Tensor:
    """(N,) 1/2 sum_d log(var_d + s^2) + D/2 (1 + log 2 pi), with the biased variance over the versions."""
    variance = embeddings_NMD.double().var(1, correction=0) + observation_variance
    return 0.5 * variance.log().sum(1) + embeddings_NMD.shape[-1] / 2 * (1 + math.log(2 * math.pi))


class Maps(NamedTuple):
    """Mean and variance of each pixel, float64 (N, C, H, W)."""

    mean: Tensor
    variance: Tensor


@torch.no_grad()
def maps(model: GenerativeModel, task: Task, head_draws: Tensor, states: int = 10, seed: int = 0) -> Maps:
    """The recursion of E and V along Euler's steps, A = 1 and B = dt, with no closed form anywhere.

    Args:
        head_draws: (M, weights of the head), all of which are tried at every step.
        states: S of each step, drawn from N(E, V).
        seed: of the states.
    """
    source = torch.Generator().manual_seed(seed)
    mean, variance = task.noise.double(), torch.zeros_like(task.noise, dtype=torch.float64)
    sigmas = _scheduler(task.steps).sigmas.double()
    for here, there in itertools.pairwise(sigmas):
        drawn = torch.randn(states, *mean.shape, generator=source, dtype=torch.float64)
        x_S = mean + variance.clamp(min=0).sqrt() * drawn
        times = here.float().expand(len(mean))
        features, _ = head_inputs(model, mean.float(), times, task.classes)
        f_S = torch.stack([model(x.float(), times, task.classes).double() for x in x_S])
        step, f = there - here, f_S.mean(0)
        covariance = (x_S * f_S).mean(0) - mean * f
        spread = variance_over(model, features, head_draws)
        variance = variance.clamp(min=0) + 2 * step * covariance + step**2 * spread
        mean = mean + step * f
    return Maps(mean, variance)


@torch.no_grad()
def variance_over(model: GenerativeModel, features: Tensor, head_draws: Tensor) -> Tensor:
    """Variance of the prediction over draws of the head, given its input; float64."""
    answers = []
    for weights in head_draws:
        with head_weights(model, weights):
            answers.append(F.pixel_shuffle(model.head(features), stem_of(model)).double())
    return torch.stack(answers).var(0, correction=0)
