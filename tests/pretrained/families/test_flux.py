"""The family flux: genuq's samples are its pipeline's own."""

from __future__ import annotations

import genuq
from genuq.models import sample_latents
from support.pretrained_cases import STEPS, assert_the_pipelines_own, noise_of, opened, theirs
from support.small_pipelines import NEGATIVE, PROMPTS, relative


def test_samples_and_images_are_the_pipelines_own() -> None:
    assert_the_pipelines_own("flux")


def test_embedded_and_true_guidance_together() -> None:
    _, pipe = opened("flux")
    model = genuq.from_pipeline(pipe, PROMPTS, NEGATIVE, 16, 16, embedded_guidance=2.0)
    noise = noise_of(model)
    ours = sample_latents(model, model.sampler(STEPS, guidance_scale=3.0), [0, 1], noise)
    expected = theirs("flux", pipe, noise, "latent", guidance_scale=2.0, true_cfg_scale=3.0)
    assert relative(ours, expected) < 1e-5
