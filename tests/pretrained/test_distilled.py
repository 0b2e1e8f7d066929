"""Distilled networks are named: by their scheduler, by what their configuration says, by their name."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import diffusers
import pytest
import torch

from genuq.errors import GenuqError
from genuq.posteriors import DoubtfulFitWarning, fit
from genuq.pretrained import Family, from_pipeline
from genuq.pretrained.distilled import doubt_of
from genuq.training.ensembles import finetune_ensemble
from support.small_pipelines import PROMPTS, ddpm, flux, stable_diffusion

PLAIN = diffusers.DDIMScheduler()


def pipe(scheduler: Any = PLAIN, network: dict[str, Any] | None = None, **config: Any) -> Any:
    """As much of a pipeline as is looked at."""
    return SimpleNamespace(scheduler=scheduler, unet=SimpleNamespace(config=network or {}), config=config)


@pytest.mark.parametrize(
    ("given", "how"),
    [
        (pipe(diffusers.LCMScheduler()), r"to consistency along the path \(LCM\)"),
        (pipe(diffusers.TCDScheduler()), r"to consistency along the path \(TCD\)"),
        (pipe(diffusers.CMStochasticIterativeScheduler()), "a consistency model"),
        (pipe(network={"time_cond_proj_dim": 256}), "of its guidance"),
        (pipe(network={"guidance_embeds": True}), "of its guidance, whose scale the network is told"),
        (pipe(network={"use_meanflow": True}), "to few steps by mean flow"),
        (pipe(is_distilled=True), "is_distilled"),
        (pipe(_name_or_path="stabilityai/sdxl-turbo"), "as 'turbo' in its name says"),
        (pipe(_name_or_path="/home/me/SDXL-Lightning"), "as 'lightning' in its name says"),
        (pipe(network={"_name_or_path": "/cache/models--me--ssd-1b-lcm/snapshots/ab"}), "as 'lcm' in its name says"),
    ],
)
def test_what_says_that_a_network_was_distilled_is_named(given: Any, how: str) -> None:
    doubt = doubt_of("Pipe", given.unet, given.scheduler, given)
    assert doubt is not None and "was distilled" in doubt and "are doubtful" in doubt
    with pytest.raises(AssertionError, match=how):
        raise AssertionError(doubt)


@pytest.mark.parametrize(
    "given",
    [
        pipe(),
        pipe(network={"time_cond_proj_dim": None, "guidance_embeds": False}, is_distilled=False),
        pipe(_name_or_path="me/turbofan-photographs"),
        pipe(_name_or_path=None),
    ],
)
def test_others_are_not_doubted(given: Any) -> None:
    assert doubt_of("Pipe", given.unet, given.scheduler, given) is None


def test_all_of_flux_1_is_distilled_and_other_families_are_not() -> None:
    assert Family.distillation is None
    schnell = from_pipeline(flux(embedded=False), prompts=PROMPTS, height=16, width=16)
    assert "FluxPipeline was distilled (FLUX.1 dev of its guidance, schnell to few steps)" in str(schnell.doubt)
    assert from_pipeline(ddpm()).doubt is None


def test_a_bare_network_with_such_a_scheduler_is_doubted() -> None:
    bare = from_pipeline(ddpm().unet, scheduler=diffusers.LCMScheduler())
    assert "UNet2DModel was distilled to consistency" in str(bare.doubt)
    assert from_pipeline(ddpm().unet, scheduler=PLAIN).doubt is None


def test_fits_and_ensembles_warn_of_it_by_name() -> None:
    assert not issubclass(DoubtfulFitWarning, GenuqError)
    model = from_pipeline(stable_diffusion(diffusers.LCMScheduler()), prompts=PROMPTS, height=16, width=16)
    images, labels = torch.zeros(8, *model.shape), [0, 1] * 4
    with pytest.warns(DoubtfulFitWarning, match=r"StableDiffusionPipeline was distilled to consistency"):
        found = fit(model, images, labels=labels, images=2, held_out=2)
    assert found.doubts == (model.doubt,)
    with pytest.warns(DoubtfulFitWarning, match="fine-tunings of it are doubtful"):
        finetune_ensemble(model, images, labels=labels, members=1, steps=1, batch_size=2, observation_noise=1.0)
