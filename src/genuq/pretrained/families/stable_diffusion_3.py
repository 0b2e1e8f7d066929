"""Stable Diffusion 3: flow matching, texts of two CLIPs and T5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from genuq.models import Rows
from genuq.pretrained.family import Asked, Encoded, Family, blank, dynamic_shift, longest, named
from genuq.pretrained.register import FAMILIES

_NAMES = ("text", "pooled")


@FAMILIES.add(label="Stable Diffusion 3", pipelines=("StableDiffusion3Pipeline",))
class StableDiffusion3(Family):
    """A transformer on latents, trained by flow matching (Esser et al. 2024)."""

    name = "stable_diffusion_3"

    def __init__(self, pipe: Any, asked: Asked) -> None:
        super().__init__(pipe, asked)
        patch = int(pipe.transformer.config.patch_size)
        self.tokens = (asked.latent_shape[1] // patch) * (asked.latent_shape[2] // patch)

    def encode(self, pipe: Any, prompts: list[str], negative: list[str] | None, guided: bool) -> Encoded:
        text, null, pooled, null_pooled = self.encoded(pipe, prompts, negative, guided)
        return Encoded(named((text, pooled), *_NAMES), named((null, null_pooled), *_NAMES) if guided else None)

    def blank(self, pipe: Any, count: int) -> Rows:
        config = pipe.transformer.config
        tokens = longest(pipe, pipe.text_encoder) + self.longest(pipe)
        text, pooled = blank(count, tokens, config.joint_attention_dim), blank(count, config.pooled_projection_dim)
        return {"text": text, "pooled": pooled}

    def settings(self, scheduler: Any, steps: int) -> Mapping[str, Any]:
        if not scheduler.config.get("use_dynamic_shifting"):
            return {}
        return {"mu": dynamic_shift(scheduler, self.tokens, largest=1.16)}

    def call(self, network: Any, x: Tensor, time_B: Tensor, rows: Any) -> Tensor:
        return network(
            hidden_states=x, timestep=time_B, encoder_hidden_states=rows["text"], pooled_projections=rows["pooled"]
        ).sample
