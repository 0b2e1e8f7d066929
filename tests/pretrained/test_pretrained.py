"""Every family in the ten lines of the README, which differ in one."""

from __future__ import annotations

import pytest
import torch

from genuq.pretrained import FAMILIES
from support.pretrained_cases import everything, opened, sampler_of
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
NOT_AFFINE = ("lumina2", "qwen_image")  # guidance that keeps the norm


def test_every_family_has_a_small_pipeline() -> None:
    assert set(FAMILIES.keys()) == set(PIPELINES) == set(HEADS)


@pytest.mark.parametrize("family", PIPELINES)
def test_one_function_for_all(family: str) -> None:
    model, _ = opened(family)
    images = torch.rand(6, *model.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    labels = [index % model.num_classes for index in range(6)] if model.num_classes else None
    steps = 2 if family == "qwen_image" else 1  # the end of its shifted grid cannot be that of one step
    found = everything(model, images, labels, sampler_of(family, model, steps=steps))
    assert model.head_name == HEADS[family]
    assert "trajectory" in found or family in NOT_AFFINE
    assert len(found) == 4 + ("trajectory" in found)
    for name, values in found.items():
        assert len(values) == 2 and values.isfinite().all(), name
        assert name not in ("trajectory", "coherent") or (values > 0).any(), name
