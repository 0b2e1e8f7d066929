"""Sana: flow matching on deeply compressed latents, text of Gemma."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genuq.models import Rows
from genuq.pretrained.family import Asked, Encoded, Family, blank, named
from genuq.pretrained.register import FAMILIES

_NAMES = ("text", "mask")


@FAMILIES.add(label="Sana", pipelines=("SanaPipeline",))
class Sana(Family):
    """A transformer with linear attention on latents (Xie et al. 2024); sizes without bins."""

    name = "sana"
    rounded = "nothing"

    def __init__(self, pipe: Any, asked: Asked) -> None:
        super().__init__(pipe, asked)
        self.timestep_scale = float(pipe.transformer.config.timestep_scale)

    def encode(self, pipe: Any, prompts: list[str], negative: list[str] | None, guided: bool) -> Encoded:
        text, mask, null, null_mask = self.encoded(pipe, prompts, negative, guided)
        return Encoded(named((text, mask), *_NAMES), named((null, null_mask), *_NAMES) if guided else None)

    def blank(self, pipe: Any, count: int) -> Rows:
        text = blank(count, self.longest(pipe), pipe.transformer.config.caption_channels)
        return {"text": text, "mask": blank(count, self.longest(pipe), dtype=torch.int64)}

    def call(self, network: Any, x: Tensor, time_B: Tensor, rows: Any) -> Tensor:
        return network(
            x,
            encoder_hidden_states=rows["text"],
            encoder_attention_mask=rows["mask"],
            timestep=time_B * self.timestep_scale,
        ).sample
