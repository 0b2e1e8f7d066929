"""The family flux2: genuq's samples are its pipelines' own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

import genuq
from genuq.models import finished, sample_latents, to_unit
from genuq.pretrained import PretrainedModel
from support.pretrained_cases import STEPS, noise_of, opened, sampler_of
from support.small_pipelines import NEGATIVE, PROMPTS, TEXT_LENGTHS, flux2, flux2_klein, relative

LENGTH = TEXT_LENGTHS["flux2"]


def images(pipe: Any, noise: Tensor, **options: Any) -> Tensor:
    """Its own; latents are given as genuq has them."""
    given = {"num_inference_steps": STEPS, "output_type": "pt", "height": 16, "width": 16, **options}
    given["max_sequence_length"] = LENGTH
    return pipe(prompt=PROMPTS, latents=noise, **given).images


def ours(model: PretrainedModel, noise: Tensor, **options: Any) -> Tensor:
    return to_unit(finished(model, sample_latents(model, sampler_of("flux2", model, **options), [0, 1], noise)))


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_klein(scale: float) -> None:
    model, pipe = opened("flux2")
    noise = noise_of(model)
    nulls = pipe.encode_prompt([NEGATIVE] * 2, max_sequence_length=LENGTH)[0]
    expected = images(pipe, noise, guidance_scale=scale, negative_prompt_embeds=nulls)
    assert relative(ours(model, noise, guidance_scale=scale), expected) < 1e-5


def test_kleins_null_row_is_of_the_empty_text() -> None:
    _, pipe = opened("flux2")
    model = genuq.from_pipeline(pipe, PROMPTS, height=16, width=16, max_sequence_length=LENGTH)
    noise = noise_of(model)
    assert model.scale == 4.0
    assert relative(ours(model, noise), images(pipe, noise)) < 1e-5


def test_a_distilled_klein_has_no_guidance() -> None:
    model = genuq.from_pipeline(flux2_klein(distilled=True), PROMPTS, height=16, width=16)
    assert model.guidance is None and model.scale == 1.0


def test_one_with_embedded_guidance(tmp_path: Path) -> None:
    flux2().save_pretrained(tmp_path)
    pipe = diffusers.DiffusionPipeline.from_pretrained(tmp_path)
    pipe.set_progress_bar_config(disable=True)
    asked = {"height": 16, "width": 16, "embedded_guidance": 2.5, "max_sequence_length": LENGTH}
    model = genuq.from_pretrained(tmp_path, prompts=PROMPTS, **asked)
    noise = noise_of(model)
    assert model.guidance is None and model.scale == 1.0
    assert relative(ours(model, noise), images(pipe, noise, guidance_scale=2.5)) < 1e-5


def test_the_autoencoder_inverts_patches_and_statistics() -> None:
    model, pipe = opened("flux2")
    pixels = torch.rand(2, 3, 16, 16) * 2 - 1
    assert model.latent_shape == (16, 4, 4)
    with torch.no_grad():
        torch.testing.assert_close(model.autoencoder.encode(pixels), pipe._encode_vae_image(pixels, None))
