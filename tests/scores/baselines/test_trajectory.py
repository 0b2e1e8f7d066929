"""Trajectory variance and AU against loops over single samples, and against the exact Gaussian case."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from genuq.errors import ConfigurationError
from genuq.models import Sampler, StageRecord, evaluating, sample_latents
from genuq.randomness import generator
from genuq.scores.baselines import AleatoricVariance, TrajectoryVariance, watch
from genuq.solvers import DDIM, DDPM, Euler
from support.gaussian_toy import affine_prediction
from support.watched_models import CLASSES, SHAPE, exact_model, random_model

KINDS = [
    ("flow_matching", "flow", Euler()),
    ("variance_preserving", "epsilon", DDPM()),
    ("variance_preserving", "v_prediction", DDIM()),
    ("variance_preserving", "sample", DDIM(0.5)),
]


def records_of(model, sampler, index: int) -> list[StageRecord]:
    records: list[StageRecord] = []
    with evaluating(model):
        sample_latents(model, sampler, [index], observers=[records.append])
    return records


def by_hand(prediction: str, alpha: float, sigma: float, x: torch.Tensor, f: torch.Tensor):
    """(x0_hat, eps_hat), each type's formula written out."""
    if prediction == "epsilon":
        return (x - sigma * f) / alpha, f
    if prediction == "sample":
        return f, (x - alpha * f) / sigma
    if prediction == "v_prediction":
        return alpha * x - sigma * f, sigma * x + alpha * f
    return x - sigma * f, x + alpha * f  # flow matching


@pytest.mark.parametrize("process,prediction,solver", KINDS)
def test_trajectory_variance_is_that_of_the_stacked_predictions(process, prediction, solver):
    model, sampler = random_model("pixels", process, prediction), Sampler(solver, steps=6, guidance_scale=1.5)
    found = watch(model, sampler, range(4), {"it": partial(TrajectoryVariance, window=(0.5, 1.0))}).scores["it"]
    for index in range(4):
        hats = []
        for record in records_of(model, sampler, index)[3:]:
            alpha, sigma = (float(path(record.stage.t)) for path in (model.process.alpha, model.process.sigma))
            x, f = record.states[0].double(), record.predictions[0].double()
            hats.append(by_hand(prediction, alpha, sigma, x, f)[0].numpy())
        assert found[index] == pytest.approx(np.var(np.stack(hats), axis=0).sum(), rel=1e-4)


@pytest.mark.parametrize("process,prediction,solver", KINDS)
def test_aleatoric_variance_is_that_of_a_loop_over_noisings(process, prediction, solver):
    model, sampler = random_model("pixels", process, prediction), Sampler(solver, steps=5, seed=2, guidance_scale=1.5)
    build = partial(AleatoricVariance, repeats=3, window=(0.6, 1.0))
    found = watch(model, sampler, range(4), {"it": build}).scores["it"]
    for index in range(4):
        source, total = generator(2, index, "renoising"), 0.0
        label = torch.tensor([index % CLASSES])
        for record in records_of(model, sampler, index)[3:]:
            t = record.stage.t
            alpha, sigma = float(model.process.alpha(t)), float(model.process.sigma(t))
            x0, _ = by_hand(prediction, alpha, sigma, record.states[0], record.predictions[0])
            noises = []
            for _ in range(3):
                x = alpha * x0 + sigma * torch.randn(SHAPE, generator=source)
                with torch.no_grad(), evaluating(model):
                    null, own = (model.network(x, torch.tensor([t]), y) for y in (torch.tensor([CLASSES]), label))
                noises.append(by_hand(prediction, alpha, sigma, x, -0.5 * null + 1.5 * own)[1].numpy())
            total += np.var(np.stack(noises).astype(float), axis=0, ddof=1).sum()
        assert found[index] == pytest.approx(total, rel=1e-3)


@pytest.mark.parametrize("path,prediction", [("flow_matching", "flow"), ("linear", "epsilon"), ("cosine", "sample")])
def test_aleatoric_variance_of_the_gaussian_case(path, prediction):
    """eps_hat is affine in x, so its variance over noisings is (slope sigma)^2 in each dimension, for every sample."""
    model, sampler = exact_model(path, prediction), Sampler(DDIM(), steps=5)
    build = partial(AleatoricVariance, repeats=4000, window=(0.2, 0.8))
    found = watch(model, sampler, range(3), {"it": build}).scores["it"]
    times = [stage.t for stage in sampler.stages(model)][1:4]
    slopes = [affine_prediction(model.process, "epsilon", t)[0] * model.process.sigma(t) for t in times]
    expected = torch.stack(slopes).square().sum().expand(3)
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0)


def test_trajectory_variance_needs_two_steps_and_aleatoric_two_noisings():
    with pytest.raises(ConfigurationError, match="at least 2 steps"):
        watch(random_model(), Sampler(steps=1), [0], {"it": TrajectoryVariance})
    with pytest.raises(ConfigurationError, match=r"score\.renoisings = 1"):
        watch(random_model(), Sampler(steps=2), [0], {"it": partial(AleatoricVariance, repeats=1)})
