"""Qwen-Image: flow matching on packed latents, text with a mask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from genuq.models import Rows, padded
from genuq.models.guidance import renormalised
from genuq.pretrained.family import (
    Asked,
    Encoded,
    Family,
    blank,
    call_defaults,
    dynamic_shift,
    even_sigmas,
    packed,
    ragged,
    unpacked,
)
from genuq.pretrained.register import FAMILIES


@FAMILIES.add(label="Qwen-Image", pipelines=("QwenImagePipeline",))
class QwenImage(Family):
    """A transformer on 2x2 patches of latents; guidance keeps the norm of each patch."""

    name = "qwen_image"
    apart = True
    scale = "true_cfg_scale"

    def __init__(self, pipe: Any, asked: Asked) -> None:
        super().__init__(pipe, asked)
        self.height, self.width = asked.latent_shape[1:]
        self.told = bool(pipe.transformer.config.guidance_embeds)
        self.guidance = renormalised(  # type: ignore[misc]
            "classifier-free with the norm of the prompt's",
            packed,
            lambda tokens: unpacked(tokens, self.height, self.width),
        )

    def encode(self, pipe: Any, prompts: list[str], negative: list[str] | None, guided: bool) -> Encoded:
        rows = ragged(*self.encoded(pipe, prompts, None))
        return Encoded(rows, None if negative is None or not guided else ragged(*self.encoded(pipe, negative, None)))

    def guides(self, negative: bool) -> bool:
        return negative

    def blank(self, pipe: Any, count: int) -> Rows:
        return {"text": [blank(self.longest(pipe), pipe.transformer.config.joint_attention_dim)] * count}

    def genuq_scale(self, given: float, negative: bool) -> float:
        return max(given, 1.0) if negative else 1.0

    def shared(self, pipe: Any) -> dict[str, Any]:
        given = self.asked.embedded_guidance
        scale = call_defaults(pipe)["guidance_scale"] if given is None else given
        return {"guidance": torch.tensor([float(scale)])} if self.told else {}

    def settings(self, scheduler: Any, steps: int) -> Mapping[str, Any]:
        return {
            "sigmas": even_sigmas(steps),
            "mu": dynamic_shift(scheduler, (self.height // 2) * (self.width // 2)),
        }

    def call(self, network: Any, x: Tensor, time_B: Tensor, rows: Any) -> Tensor:
        text, mask = padded(rows["text"])
        answer = network(
            hidden_states=packed(x),
            timestep=time_B.to(x.dtype) / 1000,  # its network rounds it in any case
            guidance=rows.get("guidance"),
            encoder_hidden_states=text,
            encoder_hidden_states_mask=mask if len({len(each) for each in rows["text"]}) > 1 else None,
            img_shapes=[[(1, self.height // 2, self.width // 2)]] * len(x),
        ).sample
        return unpacked(answer, self.height, self.width)
