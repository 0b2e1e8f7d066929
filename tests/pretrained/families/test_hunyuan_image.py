"""The family hunyuan_image: genuq's samples are its pipeline's own, and guidance that it does not know is refused."""

from __future__ import annotations

import copy
from typing import Any

import diffusers
import pytest

import genuq
from genuq.errors import ConfigurationError
from genuq.models import sample_latents
from support.pretrained_cases import STEPS, assert_the_pipelines_own, noise_of, opened, theirs
from support.small_pipelines import PROMPTS, hunyuan_image, options_of, relative, seeded


def with_guiders(guider: Any, ocr_guider: Any = None) -> Any:
    pipe = copy.copy(opened("hunyuan_image")[1])
    pipe.guider, pipe.ocr_guider = guider, ocr_guider
    return pipe


def test_samples_and_images_are_the_pipelines_own() -> None:
    assert_the_pipelines_own("hunyuan_image")


def test_one_without_guider_that_is_told_a_scale() -> None:
    pipe = seeded(hunyuan_image)(embedded=True)
    pipe.guider, pipe.tokenizer_max_length = None, 40
    pipe.set_progress_bar_config(disable=True)
    options = {**options_of("hunyuan_image"), "negative_prompt": None}
    model = genuq.from_pipeline(pipe, **options, embedded_guidance=2.0)
    noise = noise_of(model)
    assert model.guidance is None and model.scale == 1.0
    ours = sample_latents(model, model.sampler(STEPS), [0, 1], noise)
    expected = theirs("hunyuan_image", pipe, noise, "latent", distilled_guidance_scale=2.0)
    assert relative(ours, expected) < 1e-5


def test_texts_in_the_image() -> None:
    """A prompt that quotes has a second text, the other and the null row none."""
    pipe = opened("hunyuan_image")[1]
    asked = [f"{PROMPTS[0]} 'red hill'", PROMPTS[1]]
    model = genuq.from_pipeline(pipe, **{**options_of("hunyuan_image"), "prompts": asked})
    assert model.conditions is not None
    assert [len(row) for row in model.conditions.source.at([0, 1, 2])["glyphs"]] == [7, 0, 0]
    noise = noise_of(model)
    ours = sample_latents(model, model.sampler(STEPS), [0, 1], noise)
    assert relative(ours, theirs("hunyuan_image", pipe, noise, "latent", prompt=asked)) < 1e-5


@pytest.mark.parametrize(
    "guider,said",
    [
        (diffusers.AdaptiveProjectedMixGuidance(), "does not know the guidance of AdaptiveProjectedMixGuidance"),
        (diffusers.ClassifierFreeGuidance(guidance_rescale=0.5), "guidance_rescale = 0.5"),
        (diffusers.ClassifierFreeGuidance(stop=0.5), "stop = 0.5"),
    ],
)
def test_other_guidance_is_refused(guider: Any, said: str) -> None:
    for pipe in (with_guiders(guider), with_guiders(diffusers.ClassifierFreeGuidance(), guider)):
        with pytest.raises(ConfigurationError, match=said):
            genuq.from_pipeline(pipe, **options_of("hunyuan_image"))


def test_two_scales_are_refused() -> None:
    pipe = with_guiders(diffusers.ClassifierFreeGuidance(3.0), diffusers.ClassifierFreeGuidance(5.0))
    with pytest.raises(ConfigurationError, match="give both the same"):
        genuq.from_pipeline(pipe, **{**options_of("hunyuan_image"), "prompts": "a 'cat'"})


def test_one_by_mean_flow_is_refused() -> None:
    pipe = copy.copy(opened("hunyuan_image")[1])
    network = copy.deepcopy(pipe.transformer)
    network.register_to_config(use_meanflow=True)
    pipe.transformer = network
    with pytest.raises(ConfigurationError, match="distilled by mean flow"):
        genuq.from_pipeline(pipe, **options_of("hunyuan_image"))
