"""Stable Diffusion 1.x and 2.x: latents, text of CLIP."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genuq.models import Rows
from genuq.pretrained.family import Asked, Encoded, Family, blank, call_defaults, longest, named
from genuq.pretrained.register import FAMILIES


@FAMILIES.add(label="Stable Diffusion", pipelines=("StableDiffusionPipeline", "LatentConsistencyModelPipeline"))
class StableDiffusion(Family):
    """A U-Net on latents with text of CLIP (Rombach et al. 2022)."""

    name = "stable_diffusion"
    component = "unet"

    def __init__(self, pipe: Any, asked: Asked) -> None:
        super().__init__(pipe, asked)
        self.distilled = pipe.unet.config.time_cond_proj_dim is not None

    def encode(self, pipe: Any, prompts: list[str], negative: list[str] | None, guided: bool) -> Encoded:
        guided = guided and not self.distilled
        text, null = self.encoded(pipe, prompts, negative, guided)[:2]
        return Encoded(named((text,), "text"), named((null,), "text") if guided else None)

    def guides(self, negative: bool) -> bool:
        return not self.distilled

    def blank(self, pipe: Any, count: int) -> Rows:
        return {"text": blank(count, longest(pipe, pipe.text_encoder), pipe.unet.config.cross_attention_dim)}

    def shared(self, pipe: Any) -> dict[str, Any]:
        if not self.distilled:
            return {}
        given = self.asked.embedded_guidance
        scale = call_defaults(pipe)["guidance_scale"] if given is None else given
        width = pipe.unet.config.time_cond_proj_dim
        return {"guidance": pipe.get_guidance_scale_embedding(torch.tensor([scale - 1.0]), embedding_dim=width)}

    def call(self, network: Any, x: Tensor, time_B: Tensor, rows: Any) -> Tensor:
        return network(x, time_B, encoder_hidden_states=rows["text"], timestep_cond=rows.get("guidance")).sample
