"""The family unet2d: genuq's samples are its pipeline's own."""

from __future__ import annotations

import diffusers
import pytest
import torch

import genuq
from genuq.errors import ConfigurationError, DataError
from genuq.models import to_unit
from support.pretrained_cases import assert_the_pipelines_own, theirs
from support.small_pipelines import ddpm, relative


def test_samples_and_images_are_the_pipelines_own() -> None:
    assert_the_pipelines_own("unet2d")


class TestClasses:
    def model(self, **settings):
        pipe = ddpm(num_class_embeds=3, **settings)
        return pipe, genuq.from_pipeline(pipe)

    def test_are_the_networks_own(self):
        pipe, model = self.model()
        x, y = torch.randn(2, 3, 8, 8), torch.tensor([0, 2])
        found = model(x, torch.tensor([0.5, 0.5]), y)
        assert model.num_classes == 3
        assert torch.equal(found, pipe.unet(x, torch.full((2,), 499.0), class_labels=y).sample)

    def test_have_no_null_class(self):
        _, model = self.model()
        with pytest.raises(ConfigurationError, match="the model has no null class"):
            genuq.sample(model, model.sampler(2, guidance_scale=2.0), [0])

    def test_beyond_the_range_are_refused(self):
        _, model = self.model()
        images = torch.rand(6, 3, 8, 8)
        with pytest.raises(DataError, match="labels hold the class 3, but the model knows 3: 0 to 2"):
            genuq.fit(model, images, labels=[0, 1, 2, 3, 0, 1], images=4, held_out=2)
        with pytest.raises(ConfigurationError, match="class 3"):
            genuq.sample(model, model.sampler(2, classes=[3]), [0])

    def test_missing_are_refused(self):
        _, model = self.model()
        with pytest.raises(DataError, match="give labels"):
            genuq.fit(model, torch.rand(6, 3, 8, 8), images=4, held_out=2)


def test_prompts_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="takes none"):
        genuq.from_pipeline(ddpm(), prompts="a cat")


def test_a_scheduler_that_clips_samples_directly() -> None:
    pipe = ddpm(diffusers.DDIMScheduler(clip_sample=True))
    model, noise = genuq.from_pipeline(pipe), torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ConfigurationError, match="clip_sample"):
        model.sampler(3).stages(model)
    found = to_unit(genuq.sample(model, model.sampler(3, directly=True), [0, 1], noise))
    pipe.set_progress_bar_config(disable=True)
    assert relative(found, theirs("unet2d", pipe, noise, "np")) < 1e-5
