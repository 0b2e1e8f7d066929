"""The family stable_diffusion_xl: genuq's samples are its pipeline's own."""

from __future__ import annotations

import copy

import diffusers
import pytest

import genuq
from genuq.models import sample_latents
from support.pretrained_cases import STEPS, assert_the_pipelines_own, noise_of, opened, theirs
from support.small_pipelines import NEGATIVE, PROMPTS, relative


def test_samples_and_images_are_the_pipelines_own() -> None:
    assert_the_pipelines_own("stable_diffusion_xl")


@pytest.mark.parametrize("name", ["EDMEulerScheduler", "EDMDPMSolverMultistepScheduler"])
def test_one_that_is_preconditioned_as_edm(name: str) -> None:
    """Playground 2.5."""
    pipe = copy.copy(opened("stable_diffusion_xl")[1])
    pipe.scheduler = getattr(diffusers, name)()
    model = genuq.from_pipeline(pipe, PROMPTS, NEGATIVE, 16, 16)
    assert model.prediction == "edm"
    ours = sample_latents(model, model.sampler(STEPS), [0, 1], noise_of(model))
    assert relative(ours, theirs("stable_diffusion_xl", pipe, noise_of(model), "latent")) < 1e-5
