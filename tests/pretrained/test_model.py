"""A pipeline as a model: what is misread is refused by name; guided variance is that of weight draws."""

from __future__ import annotations

import copy
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

import genuq
from genuq.errors import ConfigurationError, DataError
from genuq.models import CLASSIFIER_FREE, finished, sample_latents
from genuq.posteriors import Posterior, swapped
from genuq.pretrained import PretrainedModel
from genuq.propagators import Coherent, Trajectory
from support.pretrained_cases import STEPS, noise_of, opened, sampler_of
from support.small_pipelines import NEGATIVE, PIPELINES, PROMPTS, options_of, stable_diffusion

DRAWS = 6


@pytest.mark.parametrize("family,scale", [("z_image", 6.0), ("flux", 1.0), ("qwen_image", 4.0)])
def test_scales_have_one_meaning(family: str, scale: float) -> None:
    assert opened(family)[0].scale == scale


def test_without_negative_prompt_flux_does_not_guide() -> None:
    model = genuq.from_pipeline(opened("flux")[1], PROMPTS, height=16, width=16)
    assert model.guidance is None and model.scale == 1


@pytest.mark.parametrize(
    "prompts,negative,said",
    [
        (None, None, "none are given"),
        ([], None, "none are given"),
        ([3], None, "must be texts"),
        (PROMPTS, ["a"], "has 1 texts for 2 prompts"),
    ],
)
def test_prompts_that_cannot_be_are_refused(prompts, negative, said) -> None:
    with pytest.raises(ConfigurationError, match=said):
        genuq.from_pipeline(opened("stable_diffusion")[1], prompts, negative, 16, 16)


def null_row(model: PretrainedModel, number: int) -> Tensor:
    assert model.conditions is not None
    return model.conditions.at(model.conditions.null_of(torch.tensor([number])))["text"]


def test_a_negative_prompt_for_each() -> None:
    _, pipe = opened("stable_diffusion")
    both = genuq.from_pipeline(pipe, PROMPTS, [NEGATIVE, "green"], 16, 16)
    for place, negative in enumerate([NEGATIVE, "green"]):
        alone = genuq.from_pipeline(pipe, PROMPTS[place], negative, 16, 16)
        nulls = [null_row(both, place), null_row(alone, 0)]
        torch.testing.assert_close(*nulls)


def test_an_autoencoder_without_scaling_is_refused() -> None:
    pipe = copy.copy(opened("stable_diffusion")[1])
    vae = copy.deepcopy(pipe.vae)
    vae.register_to_config(scaling_factor=None)
    pipe.vae = vae
    with pytest.raises(ConfigurationError, match="neither scaling_factor nor latents_mean"):
        genuq.from_pipeline(pipe, PROMPTS, height=16, width=16)


def test_what_is_no_pipeline_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="does not know pipelines of the class 'SimpleNamespace'"):
        genuq.from_pipeline(SimpleNamespace())


def test_a_fit_without_the_prompts_of_its_images_is_refused() -> None:
    with pytest.raises(DataError, match="give labels"):
        genuq.fit(opened("stable_diffusion")[0], torch.rand(6, 3, 16, 16), images=4, held_out=2)


def test_the_pipeline_stays_as_it_is() -> None:
    pipe = stable_diffusion()
    before, training = dict(pipe.scheduler.config), pipe.unet.training
    model = genuq.from_pipeline(pipe, PROMPTS, height=16, width=16)
    sample_latents(model, model.sampler(2), [0])
    assert dict(pipe.scheduler.config) == before and pipe.unet.training == training
    assert model.network is pipe.unet, "no copy"


class TestGuidedVariance:
    """At a guidance scale of 3 what is propagated is what weight draws show."""

    def fitted(self, model: PretrainedModel) -> Posterior:
        images = torch.rand(6, *model.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
        labels = [index % 2 for index in range(6)]
        posterior = genuq.fit(model, images, labels=labels, images=4, held_out=2).posterior
        scale, small = posterior.require_final(), 1e-5  # so small that the network answers linearly
        return posterior.finalise(replace(scale, temperature=small, prior_precision=scale.prior_precision / small))

    def brute_force(self, model: PretrainedModel, posterior: Posterior) -> Tensor:
        sampler = sampler_of("", model, guidance_scale=3.0)
        own = sample_latents(model, sampler, [0, 1])
        squares = []
        for m in range(DRAWS):
            with swapped(posterior.module, posterior.draw(m)):
                squares.append((sample_latents(model, sampler, [0, 1]) - own).double().square())
        return torch.stack(squares).mean(0)

    @pytest.mark.parametrize("family", ["stable_diffusion_3", "lumina2", "qwen_image", "cogview4", "wan"])
    def test_is_that_of_weight_draws(self, family: str) -> None:
        model, _ = opened(family)
        posterior = self.fitted(model)
        sampler = sampler_of(family, model, guidance_scale=3.0)
        found = genuq.propagate(model, posterior, sampler, [0, 1], Coherent(draws=DRAWS)).variance
        expected = self.brute_force(model, posterior)
        assert float((found - expected).norm() / expected.norm()) < 0.02

    def test_of_a_guidance_that_is_not_affine_is_refused_by_name(self) -> None:
        model, pipe = opened("qwen_image")
        posterior = self.fitted(model)
        sampler = model.sampler(STEPS, guidance_scale=3.0)
        for propagator in (Trajectory(), Coherent(draws=None)):
            with pytest.raises(ConfigurationError, match="needs a guidance that is affine"):
                genuq.propagate(model, posterior, sampler, [0], propagator)
        plain = genuq.from_pipeline(pipe, PROMPTS, NEGATIVE, 16, 16, guidance=CLASSIFIER_FREE)
        posterior = self.fitted(plain)
        found = genuq.propagate(plain, posterior, sampler, [0], Trajectory())
        assert found.variance.isfinite().all() and found.plain_evaluations == 2 * STEPS <= found.evaluations


def test_slices_and_tiles_of_the_decoder_stay_as_they_are() -> None:
    pipe = PIPELINES["stable_diffusion"]()
    pipe.vae.enable_slicing()
    pipe.vae.enable_tiling()
    model = genuq.from_pipeline(pipe, **options_of("stable_diffusion"))
    latents, sizes = noise_of(model), []
    pipe.vae.decoder.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    assert finished(model, latents).shape == (2, *model.shape)
    assert sizes == [1, 1] and pipe.vae.use_slicing and pipe.vae.use_tiling
