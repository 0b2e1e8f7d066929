"""Modular pipelines: genuq's samples are theirs, and what would be guided otherwise is refused."""

from __future__ import annotations

from typing import Any

import diffusers
import pytest
from torch import Tensor

import genuq
from genuq.errors import ConfigurationError
from genuq.models import finished, sample_latents, to_unit
from genuq.pretrained.family import packed
from genuq.pretrained.modular import ordinary
from support.pretrained_cases import PACKED, STEPS, noise_of, opened
from support.small_pipelines import NEGATIVE, PROMPTS, options_of, relative, side_of


def test_an_ordinary_pipeline_stays() -> None:
    pipe = opened("flux")[1]
    assert ordinary(pipe).pipe is pipe


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
        ordinary(diffusers.FluxModularPipeline())


GUIDED = {
    "stable_diffusion_xl": "StableDiffusionXLModularPipeline",
    "stable_diffusion_3": "StableDiffusion3ModularPipeline",
    "qwen_image": "QwenImageModularPipeline",
    "z_image": "ZImageModularPipeline",
}


def guided(family: str, guider: Any) -> Any:
    """A modular pipeline of the family's parts, with this guider."""
    modular = getattr(diffusers, GUIDED[family])()
    known = modular.components
    parts = {name: part for name, part in opened(family)[1].components.items() if name in known}
    modular.update_components(**parts, guider=guider)
    return modular


def modulars_own(family: str, modular: Any, noise: Tensor, negative: list[str] | None) -> Tensor:
    """The images in [0, 1] that the modular pipeline makes of this noise."""
    options = {"num_inference_steps": STEPS, "latents": packed(noise) if family in PACKED else noise}
    options |= {"height": side_of(family), "width": side_of(family), "output_type": "pt", "output": "images"}
    return modular(prompt=list(PROMPTS), negative_prompt=negative or [""] * 2, **options)


@pytest.mark.parametrize("family", GUIDED)
def test_samples_are_those_of_the_guider(family: str) -> None:
    """Also where no negative prompt is given, for which the ordinary pipeline of Qwen-Image would not guide."""
    modular = guided(family, diffusers.ClassifierFreeGuidance(guidance_scale=3.0))
    negative = None if family == "qwen_image" else [NEGATIVE] * 2
    model = genuq.from_pipeline(modular, **{**options_of(family), "negative_prompt": negative})
    noise = noise_of(model)
    found = to_unit(finished(model, sample_latents(model, model.sampler(STEPS), [0, 1], noise)))
    assert model.scale == 3.0
    assert relative(found, modulars_own(family, modular, noise, negative)) < 1e-5


def test_steps_are_those_of_the_modular_pipeline() -> None:
    modular = guided("z_image", diffusers.ClassifierFreeGuidance())
    assert ordinary(modular).steps == 8, "where the ordinary one takes 50"


def test_a_guider_that_genuq_does_not_know_is_refused() -> None:
    modular = guided("stable_diffusion_xl", diffusers.AdaptiveProjectedGuidance())
    said = r"guidance of AdaptiveProjectedGuidance. Give it another: pipe.update_components\(guider="
    with pytest.raises(ConfigurationError, match=said):
        genuq.from_pipeline(modular, PROMPTS)
