"""The family wan: genuq's films and single frames are its pipeline's own."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

import genuq
from genuq.errors import ConfigurationError
from genuq.models import sample_latents
from genuq.pretrained import PretrainedModel
from support.pretrained_cases import STEPS, assert_the_pipelines_own, noise_of, opened, theirs
from support.small_pipelines import NEGATIVE, PROMPTS, options_of, relative, saved, seeded, wan


def assert_latents_are_its_own(model: PretrainedModel, pipe: Any, noise: Tensor) -> None:
    pipe.set_progress_bar_config(disable=True)
    ours = sample_latents(model, model.sampler(STEPS), [0, 1], noise)
    assert relative(ours, theirs("wan", pipe, noise, "latent")) < 1e-5


def test_films_are_the_pipelines_own() -> None:
    assert opened("wan")[0].shape == (3, 5, 16, 16)
    assert_the_pipelines_own("wan")


def test_one_frame_is_an_image() -> None:
    pipe = opened("wan")[1]
    model = genuq.from_pipeline(pipe, **{**options_of("wan"), "frames": 1})
    assert (model.shape, model.latent_shape) == ((3, 16, 16), (4, 4, 4))
    assert_latents_are_its_own(model, pipe, noise_of(model))


def test_a_time_for_each_token() -> None:
    pipe = seeded(wan)(expand_timesteps=True)
    model = genuq.from_pipeline(pipe, **options_of("wan"))
    assert_latents_are_its_own(model, pipe, noise_of(model))


def test_its_own_sides_and_frames_are_the_defaults() -> None:
    from genuq.pretrained.families.wan import Wan
    from genuq.pretrained.model import _shape

    assert _shape(opened("wan")[1], Wan, None, None, None) == (3, 81, 480, 832)


def test_a_second_network_is_refused() -> None:
    pipe = seeded(wan)(boundary_ratio=0.9)
    with pytest.raises(ConfigurationError, match="two networks, transformer_2 below the boundary"):
        genuq.from_pipeline(pipe, **options_of("wan"))


@pytest.mark.parametrize("frames", [0, 4])
def test_frames_that_it_does_not_make_are_refused(frames: int) -> None:
    with pytest.raises(ConfigurationError, match=f"frames = {frames}, but WanPipeline makes one frame and 4 more"):
        genuq.from_pipeline(opened("wan")[1], PROMPTS, NEGATIVE, 16, 16, frames)


def test_frames_of_images_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="frames = 2, but StableDiffusionPipeline makes images"):
        genuq.from_pipeline(opened("stable_diffusion")[1], PROMPTS, frames=2)


@pytest.mark.skipif(find_spec("accelerate") is not None, reason="accelerate is there")
def test_what_diffusers_reads_by_accelerate_alone_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"by accelerate alone\. Install it"):
        genuq.from_pretrained(saved("wan", tmp_path), prompts=PROMPTS)
