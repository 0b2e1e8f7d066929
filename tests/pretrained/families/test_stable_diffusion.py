"""The family stable_diffusion: genuq's samples are its pipeline's own."""

from __future__ import annotations

import diffusers
import pytest
import torch

import genuq
from genuq.models import sample_latents
from support.pretrained_cases import assert_the_pipelines_own, theirs
from support.small_pipelines import NEGATIVE, PROMPTS, relative, stable_diffusion
from support.their_schedulers import STABLE_DIFFUSION


def test_samples_and_images_are_the_pipelines_own() -> None:
    assert_the_pipelines_own("stable_diffusion")


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_at_other_scales(scale: float) -> None:
    assert_the_pipelines_own("stable_diffusion", guidance_scale=scale)


def test_a_distilled_network_is_told_the_scale() -> None:
    pipe = stable_diffusion(diffusers.LCMScheduler(**STABLE_DIFFUSION), time_cond_proj_dim=8)
    pipe.set_progress_bar_config(disable=True)
    model = genuq.from_pipeline(pipe, PROMPTS, NEGATIVE, 16, 16, embedded_guidance=4.0)
    assert model.guidance is None and model.sampler(1).guidance_scale == 1
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    ours = sample_latents(model, model.sampler(1), [0, 1], noise)
    expected = theirs("stable_diffusion", pipe, noise, "latent", guidance_scale=4.0, num_inference_steps=1)
    assert relative(ours, expected) < 1e-5
