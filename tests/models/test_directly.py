"""Sampling by the scheduler itself: its own samples where it clips, and what remains possible."""

from __future__ import annotations

import copy

import pytest
import torch

from genuq.errors import ConfigurationError
from genuq.models import Sampler, sample, sample_latents
from genuq.models.directly import sample_directly
from genuq.posteriors import swapped
from genuq.processes import FlowMatching
from genuq.solvers import SchedulerSolver
from support.their_schedulers import AFFINE, CLIPPING, model_of, pipeline, relative, settings_of

SEED = 5


def directly(scheduler) -> SchedulerSolver:
    return SchedulerSolver(scheduler, settings_of(scheduler), directly=True)


@pytest.mark.parametrize("name", [*CLIPPING, "flow euler", "euler", "unipc", "lcm"])
def test_is_the_pipeline_bit_for_bit(name):
    scheduler = CLIPPING[name][0]() if name in CLIPPING else AFFINE[name]()
    solver = directly(scheduler)
    model, sampler = model_of(solver), Sampler(solver, steps=6, seed=SEED)
    expected = pipeline(model.network, copy.deepcopy(scheduler), 6, sampler.initial_noise(model, range(3)), SEED)
    assert torch.equal(sample_latents(model, sampler, range(3)), expected)
    assert sampler.evaluations(model) == 6


def test_an_affine_one_gives_the_same_as_its_stages():
    scheduler = AFFINE["euler ancestral"]()
    found = []
    for solver in (directly(scheduler), SchedulerSolver(scheduler)):
        model = model_of(solver)
        found.append(sample_latents(model, Sampler(solver, steps=5, seed=SEED), range(3)))
    assert relative(*found) < 1e-5


def test_a_sample_belongs_to_its_index():
    solver = directly(CLIPPING["ddpm"][0]())
    model = model_of(solver)
    whole = sample(model, Sampler(solver, steps=4), range(5))
    torch.testing.assert_close(sample(model, Sampler(solver, steps=4, batch_size=2), [3, 1]), whole[[3, 1]])


def test_weight_draws_are_what_remains():
    solver = directly(CLIPPING["ddim"][0]())
    model, sampler = model_of(solver), Sampler(solver, steps=4)
    moved = {name: value + 0.05 for name, value in model.head.named_parameters()}
    with swapped(model.head, moved):
        other = sample(model, sampler, range(2))
    assert (other - sample(model, sampler, range(2))).abs().max() > 1e-3


def test_a_network_of_the_other_sign_is_turned_around():
    solver = directly(AFFINE["flow euler"]())
    model = model_of(solver)
    minus = copy.deepcopy(model)
    minus.prediction = "minus_flow"
    with torch.no_grad():
        for value in minus.head.parameters():
            value.neg_()
    noise = torch.randn(2, *model.latent_shape)
    found, expected = (sample_directly(each, solver, 5, noise, None, 1.0, SEED, range(2)) for each in (minus, model))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


class TestRefused:
    def test_what_watches_stages(self):
        solver = directly(CLIPPING["ddim"][0]())
        with pytest.raises(ConfigurationError, match=r"samples directly.*Take scores of weight draws"):
            sample_latents(model_of(solver), Sampler(solver, steps=4), range(2), observers=[lambda record: None])

    def test_clipping_of_genuqs(self):
        solver = directly(CLIPPING["ddim"][0]())
        with pytest.raises(ConfigurationError, match=r"sampler\.clip_x0 = true, but DDIMScheduler samples directly"):
            sample(model_of(solver), Sampler(solver, steps=4, clip_x0=True), range(2))

    def test_a_model_of_another_path(self):
        solver = directly(CLIPPING["ddim"][0]())
        model = model_of(solver)
        model.process = FlowMatching()
        with pytest.raises(ConfigurationError, match="another path"):
            sample(model, Sampler(solver, steps=4), range(2))
