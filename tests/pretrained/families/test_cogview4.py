"""The family cogview4: genuq's samples are its pipeline's own, also where texts have several lengths."""

from __future__ import annotations

import genuq
from genuq.models import sample_latents
from support.pretrained_cases import STEPS, assert_the_pipelines_own, noise_of, opened, theirs
from support.small_pipelines import NEGATIVE, PROMPTS, relative


def test_samples_and_images_are_the_pipelines_own() -> None:
    assert_the_pipelines_own("cogview4")


def test_a_null_row_that_is_shorter() -> None:
    pipe = opened("cogview4")[1]
    long = [" ".join([prompt] * 5) for prompt in PROMPTS]
    model = genuq.from_pipeline(pipe, long, NEGATIVE, 16, 16)
    assert model.conditions is not None
    assert [len(row) for row in model.conditions.source.at([0, 1, 2])["text"]] == [48, 48, 16]
    noise = noise_of(model)
    ours = sample_latents(model, model.sampler(STEPS), [0, 1], noise)
    assert relative(ours, theirs("cogview4", pipe, noise, "latent", prompt=long)) < 1e-5
