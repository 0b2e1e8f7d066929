"""Lumina 2: flow matching with time and prediction reversed, text of Gemma."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from genuq.models import Guidance, Rows
from genuq.models.guidance import renormalised
from genuq.pretrained.family import Encoded, Family, at_positions, blank, dynamic_shift, even_sigmas, named
from genuq.pretrained.register import FAMILIES

_NAMES = ("text", "mask")


@FAMILIES.add(label="Lumina 2", pipelines=("Lumina2Pipeline",))
class Lumina2(Family):
    """A transformer on latents that is told 1 - sigma and predicts minus the velocity.

    Guidance keeps the norm of each row of the latent.
    """

    name = "lumina2"
    apart = True
    prediction = "minus_flow"
    guidance: ClassVar[Guidance | None] = renormalised("classifier-free with the norm of the prompt's")

    def encode(self, pipe: Any, prompts: list[str], negative: list[str] | None, guided: bool) -> Encoded:
        text, mask, null, null_mask = self.encoded(pipe, prompts, negative, guided)
        return Encoded(named((text, mask), *_NAMES), named((null, null_mask), *_NAMES) if guided else None)

    def blank(self, pipe: Any, count: int) -> Rows:
        text = blank(count, self.longest(pipe), pipe.transformer.config.cap_feat_dim)
        return {"text": text, "mask": blank(count, self.longest(pipe), dtype=torch.int64)}

    def settings(self, scheduler: Any, steps: int) -> Mapping[str, Any]:
        # its pipeline takes the latents' channels for the number of their tokens
        return {"sigmas": even_sigmas(steps), "mu": dynamic_shift(scheduler, self.asked.latent_shape[0])}

    def call(self, network: Any, x: Tensor, time_B: Tensor, rows: Any) -> Tensor:
        tokens = (x.shape[2] // 2) * (x.shape[3] // 2)
        text_B1 = rows["mask"].sum(1, keepdim=True).long()  # whose tokens come first
        with at_positions(network.norm_out.linear_2, text_B1 + torch.arange(tokens, device=x.device)):
            return network(
                hidden_states=x,
                timestep=1 - time_B / 1000,
                encoder_hidden_states=rows["text"],
                encoder_attention_mask=rows["mask"],
            ).sample
