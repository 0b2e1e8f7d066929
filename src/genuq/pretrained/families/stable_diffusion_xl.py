"""Stable Diffusion XL: two texts, a pooled one, and the image's sizes."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from genuq.models import Rows
from genuq.pretrained.families.stable_diffusion import StableDiffusion
from genuq.pretrained.family import Encoded, blank, longest, named
from genuq.pretrained.register import FAMILIES

_NAMES = ("text", "pooled")


@FAMILIES.add(label="Stable Diffusion XL", pipelines=("StableDiffusionXLPipeline",))
class StableDiffusionXL(StableDiffusion):
    """A U-Net on latents with texts of two CLIPs (Podell et al. 2023); a null row of zeros unless a prompt is given."""

    name = "stable_diffusion_xl"

    def encode(self, pipe: Any, prompts: list[str], negative: list[str] | None, guided: bool) -> Encoded:
        guided = guided and not self.distilled
        text, null, pooled, null_pooled = self.encoded(pipe, prompts, negative, guided)
        return Encoded(named((text, pooled), *_NAMES), named((null, null_pooled), *_NAMES) if guided else None)

    def blank(self, pipe: Any, count: int) -> Rows:
        pooled = blank(count, pipe.text_encoder_2.config.projection_dim)
        text = blank(count, longest(pipe, pipe.text_encoder_2), pipe.unet.config.cross_attention_dim)
        return {"text": text, "pooled": pooled}

    def shared(self, pipe: Any) -> dict[str, Any]:
        sides, encoder = tuple(self.asked.shape[1:]), pipe.text_encoder_2
        sizes = pipe._get_add_time_ids(
            sides, (0, 0), sides, dtype=encoder.dtype, text_encoder_projection_dim=encoder.config.projection_dim
        )
        return {**super().shared(pipe), "sizes": sizes.cpu()}

    def call(self, network: Any, x: Tensor, time_B: Tensor, rows: Any) -> Tensor:
        return network(
            x,
            time_B,
            encoder_hidden_states=rows["text"],
            timestep_cond=rows.get("guidance"),
            added_cond_kwargs={"text_embeds": rows["pooled"], "time_ids": rows["sizes"]},
        ).sample
