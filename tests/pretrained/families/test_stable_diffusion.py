"""The family stable_diffusion: genuq's samples are its pipeline's own."""

from __future__ import annotations

from pathlib import Path

import diffusers
import pytest
import torch

import genuq
from genuq.models import sample_latents
from support.pretrained_cases import assert_the_pipelines_own, genuqs_noise, noise_of, theirs
from support.small_pipelines import NEGATIVE, PROMPTS, latent_consistency, relative, stable_diffusion
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


FEW_STEPS = {
    "lcm": lambda: diffusers.LCMScheduler(**STABLE_DIFFUSION),
    "tcd": lambda: diffusers.TCDScheduler(**STABLE_DIFFUSION),
    "trailing": lambda: diffusers.EulerDiscreteScheduler(timestep_spacing="trailing", **STABLE_DIFFUSION),
    "trailing ancestral": lambda: diffusers.EulerAncestralDiscreteScheduler(
        timestep_spacing="trailing", **STABLE_DIFFUSION
    ),
    "dpm++ sde": lambda: diffusers.DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++", **STABLE_DIFFUSION),
}


class TestFewSteps:
    """Schedulers of few steps, those that draw noise too: from the same noise the pipeline's own."""

    @pytest.mark.parametrize("eta", [0.0, 0.5])
    @pytest.mark.parametrize("name", FEW_STEPS)
    def test_with_guidance(self, name: str, eta: float) -> None:
        pipe = stable_diffusion(FEW_STEPS[name]())
        pipe.set_progress_bar_config(disable=True)
        model = genuq.from_pipeline(pipe, PROMPTS, NEGATIVE, 16, 16)
        sampler, noise = model.sampler(4, guidance_scale=1.5, eta=eta), noise_of(model)
        ours = sample_latents(model, sampler, [0, 1], noise)
        with genuqs_noise(model, sampler):
            expected = theirs(
                "stable_diffusion", pipe, noise, "latent", guidance_scale=1.5, num_inference_steps=4, eta=eta
            )
        assert relative(ours, expected) < 1e-5

    def test_a_consistency_model_s_own_pipeline(self, tmp_path: Path) -> None:
        latent_consistency().save_pretrained(tmp_path)
        pipe = diffusers.DiffusionPipeline.from_pretrained(tmp_path)
        pipe.set_progress_bar_config(disable=True)
        model = genuq.from_pretrained(tmp_path, prompts=PROMPTS, height=16, width=16)
        sampler, noise = model.sampler(), noise_of(model)
        assert model.guidance is None and (sampler.steps, sampler.guidance_scale) == (4, 1.0)
        ours = sample_latents(model, sampler, [0, 1], noise)
        with genuqs_noise(model, sampler):
            expected = pipe(PROMPTS, 16, 16, latents=noise, output_type="latent").images
        assert relative(ours, expected) < 1e-5
