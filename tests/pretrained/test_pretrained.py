"""Every family in the ten lines of the README, which differ in one."""

from __future__ import annotations

import pytest
import torch

import genuq
from genuq.extractors import build as extractor
from genuq.posteriors import ExactLastLayerLaplace
from genuq.pretrained import FAMILIES
from support.pretrained_cases import opened, sampler_of
from support.small_pipelines import PIPELINES

HEADS = {
    "unet2d": "conv_out",
    "dit": "proj_out_2",
    "pixart": "proj_out",
    "stable_diffusion": "conv_out",
    "stable_diffusion_xl": "conv_out",
    "stable_diffusion_3": "proj_out",
    "flux": "proj_out",
    "lumina2": "norm_out.linear_2",
    "z_image": "all_final_layer.2-1.linear",
    "sana": "proj_out",
    "qwen_image": "proj_out",
    "flux2": "proj_out",
    "cogview4": "proj_out",
    "hunyuan_image": "proj_out",
    "wan": "proj_out",
}


def test_every_family_has_a_small_pipeline() -> None:
    assert set(FAMILIES.keys()) == set(PIPELINES) == set(HEADS)


@pytest.mark.parametrize("family", PIPELINES)
def test_ten_lines(family: str) -> None:
    model, _ = opened(family)
    images = torch.rand(6, *model.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    labels = [index % model.num_classes for index in range(6)] if model.num_classes else None
    fitted = genuq.fit(model, images, labels=labels, images=4, held_out=2, batch_size=3)
    likelihood = genuq.SemanticLikelihood(extractor("pixels", image_shape=model.shape))
    found = genuq.generative_uncertainty(
        model, fitted.posterior, likelihood, sampler_of(family, model), [0, 1], draws=2
    )
    assert model.head_name == HEADS[family]
    assert isinstance(fitted.posterior, ExactLastLayerLaplace)
    assert found.score.shape == (2,) and found.score.isfinite().all()
    assert (found.draws[:, 0] != found.draws[:, 1]).any(), "the draws move the images"
