"""The closed forms of the Gaussian case against brute-force weight draws through the whole sampler."""

from __future__ import annotations

import pytest
import torch

from genuq.bench.gaussian import random_rotation
from support.toy_runs import CASES, STOCHASTIC, gaussian_run, sums

DRAWS = 4096


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("fresh", [True, False])
def test_is_the_variance_over_weight_draws(name, fresh):
    run = gaussian_run(name, steps=6, noise=0.03)
    source = torch.Generator().manual_seed(1)
    shape = (len(run.stages), 3, DRAWS, 1, 1, 1, 1) if fresh else (3, DRAWS, 1, 1, 1, 1)
    weights = 0.03 * torch.randn(shape, generator=source, dtype=torch.float64)
    start = run.start[:6].double()
    noises = [None if noise is None else noise[:6].double().expand(DRAWS, -1, -1, -1, -1) for noise in run.noises]
    finals = run.case.sampled(run.stages, start.expand(DRAWS, -1, -1, -1, -1), noises, weights, fresh)
    given = [None if noise is None else noise[:6].double() for noise in run.noises]
    truth = run.case.weights_independent if fresh else run.case.weights_shared
    expected = truth(run.stages, start, given)
    torch.testing.assert_close(sums(finals.var(0)), sums(expected), rtol=0.08, atol=0)
    assert float(sums(finals.var(0)).sum() / sums(expected).sum()) == pytest.approx(1, abs=0.04)


@pytest.mark.parametrize("name", STOCHASTIC)
def test_counts_random_ancestral_noise(name):
    run = gaussian_run(name, steps=6, noise=0.03)
    source = torch.Generator().manual_seed(1)
    weights = 0.03 * torch.randn((len(run.stages), 3, DRAWS, 1, 1, 1, 1), generator=source, dtype=torch.float64)
    noises = [
        torch.randn((DRAWS, 6, 1, 8, 8), generator=source, dtype=torch.float64) if stage.noise else None
        for stage in run.stages
    ]
    start = run.start[:6].double()
    finals = run.case.sampled(run.stages, start.expand(DRAWS, -1, -1, -1, -1), noises, weights, fresh=True)
    expected = run.case.weights_independent(run.stages, start)
    torch.testing.assert_close(sums(finals.var(0)), sums(expected), rtol=0.04, atol=0)


def test_the_model_is_the_case_without_weight_noise():
    run = gaussian_run("heun")
    found = run.case.sampled(run.stages, run.start.double(), run.noises, torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(run.latents.double(), found, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["euler", "ddim"])
def test_the_matrix_recursion_is_the_variance_over_weight_draws(name):
    run = gaussian_run(name, steps=6, noise=0.03, rotation=random_rotation())
    source, start = torch.Generator().manual_seed(1), run.start[:4].double()
    weights = 0.03 * torch.randn((len(run.stages), 3, DRAWS, 1, 1, 1, 1), generator=source, dtype=torch.float64)
    finals = run.case.sampled(run.stages, start.expand(DRAWS, -1, -1, -1, -1), run.noises, weights, fresh=True)
    expected = run.case.weights_independent_of_dependent_pixels(run.stages, start)
    torch.testing.assert_close(sums(finals.var(0)), sums(expected), rtol=0.08, atol=0)
    torch.testing.assert_close(finals.var(0), expected, rtol=0.25, atol=0)


def test_the_matrix_recursion_is_the_closed_form_where_pixels_are_independent():
    run = gaussian_run("ddim", 10)
    found = run.case.weights_independent_of_dependent_pixels(run.stages, run.start)
    torch.testing.assert_close(found, run.case.weights_independent(run.stages, run.start), rtol=1e-9, atol=0)
