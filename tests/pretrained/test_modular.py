"""Modular pipelines: genuq's samples are theirs, and what would be guided otherwise is refused."""

from __future__ import annotations

import diffusers
import pytest

import genuq
from genuq.errors import ConfigurationError
from genuq.models import sample_latents
from genuq.pretrained.family import packed
from genuq.pretrained.modular import plain
from support.pretrained_cases import STEPS, noise_of, opened
from support.small_pipelines import PROMPTS, relative


def test_an_ordinary_pipeline_stays() -> None:
    pipe = opened("flux")[1]
    assert plain(pipe) is pipe


def test_samples_are_those_of_the_modular_pipeline() -> None:
    modular = diffusers.FluxModularPipeline()
    known = modular.components
    modular.update_components(**{name: part for name, part in opened("flux")[1].components.items() if name in known})
    model = genuq.from_pipeline(modular, PROMPTS[0], height=16, width=16)
    noise = noise_of(model)[:1]
    options = {"num_inference_steps": STEPS, "latents": packed(noise), "output": "latents"}
    expected = modular(prompt=PROMPTS[0], height=16, width=16, **options)
    assert relative(sample_latents(model, model.sampler(STEPS), [0], noise), expected) < 1e-5


def test_missing_parts_are_named() -> None:
    with pytest.raises(ConfigurationError, match=r"FluxModularPipeline has no \w+: load its parts"):
        plain(diffusers.FluxModularPipeline())


def test_a_guider_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="guides by ClassifierFreeGuidance"):
        plain(diffusers.StableDiffusionXLModularPipeline())
