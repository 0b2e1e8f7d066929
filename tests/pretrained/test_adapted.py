"""A pretrained model's sampler: the pipeline's own defaults, and another scheduler in its place."""

from __future__ import annotations

import diffusers

import genuq
from genuq.models import sample_latents
from genuq.pretrained.adapted import known_by_name
from genuq.processes import edm, require_prediction
from support.pretrained_cases import STEPS, noise_of, opened, theirs
from support.small_pipelines import NEGATIVE, PROMPTS, relative, stable_diffusion
from support.their_schedulers import STABLE_DIFFUSION


def test_the_defaults_are_the_pipelines_own() -> None:
    model, _ = opened("stable_diffusion")
    sampler = model.sampler()
    assert (sampler.steps, sampler.guidance_scale) == (50, 7.5)


def test_another_scheduler() -> None:
    other = diffusers.EulerDiscreteScheduler(**STABLE_DIFFUSION)
    pipe = stable_diffusion()
    model = genuq.from_pipeline(pipe, PROMPTS, NEGATIVE, 16, 16, scheduler=other)
    found = sample_latents(model, model.sampler(STEPS), [0, 1], noise_of(model))
    pipe.scheduler = other
    pipe.set_progress_bar_config(disable=True)
    assert relative(found, theirs("stable_diffusion", pipe, noise_of(model), "latent")) < 1e-5


def test_predictions_are_called_by_the_names_that_genuq_knows() -> None:
    assert known_by_name(require_prediction("edm")) == "edm"
    other = edm(1.0, "edm of data of 1")
    assert known_by_name(other) is other
