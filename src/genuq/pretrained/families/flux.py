"""FLUX.1: flow matching on packed latents, an embedded guidance scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from genuq.models import Rows
from genuq.pretrained.family import (
    Asked,
    Encoded,
    Family,
    blank,
    dynamic_shift,
    even_sigmas,
    named,
    packed,
    unpacked,
)
from genuq.pretrained.register import FAMILIES

_NAMES = ("text", "pooled")


@FAMILIES.add(label="FLUX.1", pipelines=("FluxPipeline",))
class Flux(Family):
    """A transformer on 2x2 patches of latents; the scale of its guidance is embedded, a second branch is an option."""

    name = "flux"
    scale = "true_cfg_scale"
    distillation = "(FLUX.1 dev of its guidance, schnell to few steps)"

    def __init__(self, pipe: Any, asked: Asked) -> None:
        super().__init__(pipe, asked)
        self.height, self.width = asked.latent_shape[1:]
        self.told = bool(pipe.transformer.config.guidance_embeds)

    def encode(self, pipe: Any, prompts: list[str], negative: list[str] | None, guided: bool) -> Encoded:
        rows = named(self.encoded(pipe, prompts, None)[:2], *_NAMES)
        if negative is None or not guided:
            return Encoded(rows)
        return Encoded(rows, named(self.encoded(pipe, negative, None)[:2], *_NAMES))

    def guides(self, negative: bool) -> bool:
        return negative

    def blank(self, pipe: Any, count: int) -> Rows:
        config = pipe.transformer.config
        text = blank(count, self.longest(pipe), config.joint_attention_dim)
        return {"text": text, "pooled": blank(count, config.pooled_projection_dim)}

    def genuq_scale(self, given: float, negative: bool) -> float:
        return max(given, 1.0) if negative else 1.0

    def shared(self, pipe: Any) -> dict[str, Any]:
        return {"guidance": self.told_scale(pipe)} if self.told else {}

    def settings(self, scheduler: Any, steps: int) -> Mapping[str, Any]:
        sigmas = {} if scheduler.config.get("use_flow_sigmas") else {"sigmas": even_sigmas(steps)}
        return {**sigmas, "mu": dynamic_shift(scheduler, (self.height // 2) * (self.width // 2))}

    def call(self, network: Any, x: Tensor, time_B: Tensor, rows: Any) -> Tensor:
        rows_ids = torch.arange(self.height // 2, device=x.device, dtype=x.dtype)
        columns_ids = torch.arange(self.width // 2, device=x.device, dtype=x.dtype)
        grid = torch.cartesian_prod(rows_ids, columns_ids)
        answer = network(
            hidden_states=packed(x),
            timestep=time_B.to(x.dtype) / 1000,  # its network rounds it in any case
            guidance=rows.get("guidance"),
            pooled_projections=rows["pooled"],
            encoder_hidden_states=rows["text"],
            txt_ids=x.new_zeros(rows["text"].shape[1], 3),
            img_ids=torch.nn.functional.pad(grid, (1, 0)),
        ).sample
        return unpacked(answer, self.height, self.width)
