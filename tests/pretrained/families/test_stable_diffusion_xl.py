"""The family stable_diffusion_xl: genuq's samples are its pipeline's own."""

from __future__ import annotations

import copy

import diffusers
import pytest
import torch

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


def test_without_a_negative_prompt_the_null_row_is_zeros_not_the_empty_text() -> None:
    pipe = opened("stable_diffusion_xl")[1]
    empty, told = (genuq.from_pipeline(pipe, PROMPTS, negative, 16, 16) for negative in (None, ""))
    null, text = (model.conditions.at(model.null_of(torch.zeros(1, dtype=torch.long))) for model in (empty, told))
    assert not null["text"].any() and not null["pooled"].any()
    assert text["text"].any() and text["pooled"].any()
