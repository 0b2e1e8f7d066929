"""Networks without a pipeline: diffusers' own with a scheduler, and EDM's D(x, sigma) with its preconditioning."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor, nn

import genuq
from genuq.errors import ConfigurationError
from genuq.models import CLASSIFIER_FREE, sample_latents, to_unit
from genuq.posteriors import swapped
from genuq.pretrained import PretrainedModel, from_network
from genuq.propagators import Coherent
from support import magnitude_preserving as magnitude
from support.magnitude_preserving import Normalised, magnitude_preserving
from support.pretrained_cases import everything, theirs
from support.small_pipelines import ddpm, relative, seeded, stirred

SHAPE, DATA = (3, 8, 8), 0.5


def noise() -> Tensor:
    return torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))


class Preconditioned(nn.Module):
    """D(x, sigma, class) as the published code has it; classes are one-hot."""

    label_dim = 4

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.told = nn.Linear(1 + self.label_dim, 8)
        self.last = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
        sigma = sigma.reshape(-1, 1, 1, 1).to(x.dtype)
        norm = (sigma**2 + DATA**2).sqrt()
        told = torch.cat([sigma.flatten(1).log() / 4, labels], 1)
        hidden = self.first(x / norm) + self.told(told)[:, :, None, None]
        inner = self.last(torch.nn.functional.silu(hidden))
        return DATA**2 / norm**2 * x + sigma * DATA / norm * inner


@seeded
def preconditioned() -> nn.Module:
    return stirred(Preconditioned())


def denoiser() -> PretrainedModel:
    scheduler = diffusers.EDMEulerScheduler()
    return from_network(preconditioned(), scheduler, SHAPE, num_classes=4, denoises=True, steps=6)


@torch.no_grad()
def eulers(network: nn.Module, steps: int, classes: list[int]) -> Tensor:
    """Algorithm 1 of Karras et al. 2022 without churn and correction, in float64."""
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    ends = [bound ** (1 / 7) for bound in (80, 0.002)]
    sigmas = [*((ends[0] + ramp * (ends[1] - ends[0])) ** 7).tolist(), 0.0]
    x, labels = noise().double() * (80**2 + 1) ** 0.5, torch.eye(4, dtype=torch.float64)[classes]
    for here, there in itertools.pairwise(sigmas):
        slope = (x - network(x, torch.full((2,), here, dtype=torch.float64), labels)) / here
        x = x + (there - here) * slope
    return x


def test_a_denoiser_is_sampled_as_the_paper_says() -> None:
    model = denoiser()
    found = sample_latents(model, model.sampler(classes=[1, 3]), [0, 1], noise())
    assert relative(found, eulers(preconditioned().double(), 6, [1, 3])) < 1e-5


def test_a_denoisers_head_holds_a_posterior_that_is_that_of_weight_draws() -> None:
    """The factor c_out and the term c_skip x stand behind the head."""
    model = denoiser()
    images = torch.rand(8, *SHAPE, generator=torch.Generator().manual_seed(1)) * 2 - 1
    posterior = genuq.fit(model, images, labels=[0, 1, 2, 3] * 2, images=6, held_out=2).posterior
    sampler = model.sampler(classes=[1, 3])
    assert model.head_name == "last"
    scale, small = posterior.require_final(), 1e-8
    posterior = posterior.finalise(replace(scale, temperature=small, prior_precision=scale.prior_precision / small))
    found = genuq.propagate(model, posterior, sampler, [0, 1], Coherent(draws=6)).variance
    own, squares = sample_latents(model, sampler, [0, 1]).double(), []
    for m in range(6):
        with swapped(posterior.module, posterior.draw(m)):
            squares.append((sample_latents(model, sampler, [0, 1]) - own).square())
    expected = torch.stack(squares).mean(0)
    assert float((found - expected).norm() / expected.norm()) < 0.05


def test_a_denoiser_wants_a_scheduler_of_edm() -> None:
    with pytest.raises(ConfigurationError, match="DDIMScheduler is no scheduler of EDM"):
        from_network(Preconditioned(), diffusers.DDIMScheduler(), SHAPE, denoises=True)


@pytest.mark.parametrize("classes", [0, 3])
def test_a_network_of_diffusers_with_its_scheduler(classes: int) -> None:
    pipe = ddpm(num_class_embeds=classes or None)
    model = genuq.from_pipeline(pipe.unet, scheduler=pipe.scheduler)
    assert model.shape == (3, 8, 8) and model.num_classes == classes
    if not classes:
        pipe.set_progress_bar_config(disable=True)
        found = to_unit(genuq.sample(model, model.sampler(3), [0, 1], noise()))
        assert relative(found, theirs("unet2d", pipe, noise(), "np")) < 1e-5


def test_a_network_needs_a_scheduler() -> None:
    with pytest.raises(ConfigurationError, match="Conv2d is a network: give its scheduler"):
        genuq.from_pipeline(nn.Conv2d(3, 3, 1))


def test_a_network_that_does_not_say_its_shape_needs_it() -> None:
    with pytest.raises(ConfigurationError, match=r"give shape=\(C, H, W\)"):
        from_network(nn.Conv2d(3, 3, 1), diffusers.DDIMScheduler(clip_sample=False))


def test_what_only_a_pipeline_can_do_is_not_passed_over() -> None:
    pipe = ddpm()
    for given in ({"prompts": "a cat"}, {"height": 8}, {"captions": ["a"]}, {"embedded_guidance": 3.5}):
        with pytest.raises(ConfigurationError, match="only scheduler, guidance and head are read here"):
            genuq.from_pipeline(pipe.unet, scheduler=pipe.scheduler, **given)


class TestOfLayersThatMakeTheirWeight:
    """As the networks of EDM2."""

    def test_the_head_is_found_and_samples_are_the_papers(self) -> None:
        network = magnitude_preserving()
        model = magnitude.denoiser(network, steps=6)
        assert model.head_name == "unet.last" and isinstance(model.head, nn.Conv2d)
        found = sample_latents(model, model.sampler(classes=[1, 3]), [0, 1], noise())
        assert relative(found, eulers(copy.deepcopy(network).double(), 6, [1, 3])) < 1e-5

    def test_one_function_for_all(self) -> None:
        """The ten lines of every family: both fits, an ensemble, scores and variances."""
        model = magnitude.denoiser()
        images = torch.rand(6, *SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1
        labels = [index % 4 for index in range(6)]
        found = everything(model, images, labels, model.sampler(steps=2), layers=["unet.middle"])
        assert len(found) == 5
        assert all(len(values) == 2 and values.isfinite().all() for values in found.values())
        assert all((found[name] > 0).any() for name in ("trajectory", "coherent"))

    def test_no_class_is_zeros(self) -> None:
        model = magnitude.denoiser(guidance=CLASSIFIER_FREE)
        network, sigma = magnitude_preserving(), torch.full((2,), 0.5)
        told = (sigma.log() / 4).float()
        at = model(noise(), model.process.time_of(told).float(), torch.full((2,), 4), told)
        skip, out = DATA**2 / (0.5**2 + DATA**2), 0.5 * DATA / (0.5**2 + DATA**2) ** 0.5
        expected = (network(noise(), sigma, torch.zeros(2, 4)) - skip * noise()) / out
        assert relative(at, expected) < 1e-5

    def test_a_variance_beside_the_answer_is_not_the_head(self) -> None:
        network = magnitude_preserving(uncertain=True)
        with pytest.raises(ConfigurationError, match="gives a tuple, not a tensor: give a `call`"):
            magnitude.denoiser(network)
        model = magnitude.denoiser(network, call=lambda network, x, sigma, y: network(x, sigma, y)[0])
        assert model.head_name == "unet.last"

    def test_a_head_that_cannot_become_plain_is_named(self) -> None:
        network = magnitude_preserving()
        network.unet.last = Modulated(8, 3, 3, 3)
        with pytest.raises(ConfigurationError, match=r"'unet\.last', a Modulated, which has another weight"):
            magnitude.denoiser(network)


class Modulated(Normalised):
    def forward(self, x: Tensor, gain: Any = 1) -> Tensor:
        return super().forward(x, gain=x.square().mean())
