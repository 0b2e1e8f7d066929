"""FLUX.2: flow matching on patches of latents, text of Mistral or Qwen; an embedded guidance scale, or branches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from genuq.models import Rows
from genuq.pretrained.family import Asked, Encoded, Family, blank, call_defaults, even_sigmas, named
from genuq.pretrained.register import FAMILIES


@FAMILIES.add(label="FLUX.2", pipelines=("Flux2Pipeline", "Flux2KleinPipeline"))
class Flux2(Family):
    """A transformer on latents that come in 2x2 patches.

    Klein's guidance has a null row, that of the other is embedded.
    """

    name = "flux2"
    apart = True

    def __init__(self, pipe: Any, asked: Asked) -> None:
        super().__init__(pipe, asked)
        self.tokens = asked.latent_shape[1] * asked.latent_shape[2]
        self.told = bool(pipe.transformer.config.guidance_embeds)
        self.branches = "negative_prompt_embeds" in call_defaults(pipe) and not pipe.config.is_distilled

    def genuq_scale(self, given: float, negative: bool) -> float:
        return max(given, 1.0) if self.branches else 1.0

    def blank(self, pipe: Any, count: int) -> Rows:
        return {"text": blank(count, self.longest(pipe), pipe.transformer.config.joint_attention_dim)}

    def guides(self, negative: bool) -> bool:
        return negative or self.branches

    def encode(self, pipe: Any, prompts: list[str], negative: list[str] | None, guided: bool) -> Encoded:
        rows = named(self.encoded(pipe, prompts, None)[:1], "text")
        if not guided or (negative is None and not self.branches):
            return Encoded(rows)
        return Encoded(rows, named(self.encoded(pipe, negative or [""] * len(prompts), None)[:1], "text"))

    def shared(self, pipe: Any) -> dict[str, Any]:
        return {"guidance": self.told_scale(pipe)} if self.told else {}

    def settings(self, scheduler: Any, steps: int) -> Mapping[str, Any]:
        from diffusers.pipelines.flux2.pipeline_flux2 import compute_empirical_mu

        sigmas = {} if scheduler.config.get("use_flow_sigmas") else {"sigmas": even_sigmas(steps)}
        return {**sigmas, "mu": compute_empirical_mu(self.tokens, steps)}

    def call(self, network: Any, x: Tensor, time_B: Tensor, rows: Any) -> Tensor:
        height, width, device = x.shape[2], x.shape[3], x.device
        one = torch.arange(1, device=device)
        down, right = torch.arange(height, device=device), torch.arange(width, device=device)
        length = torch.arange(rows["text"].shape[1], device=device)
        answer = network(
            hidden_states=x.flatten(2).mT,
            timestep=time_B.to(x.dtype) / 1000,  # its network rounds it in any case
            guidance=rows.get("guidance"),
            encoder_hidden_states=rows["text"],
            txt_ids=torch.cartesian_prod(one, one, one, length),
            img_ids=torch.cartesian_prod(one, down, right, one),
        ).sample
        return answer.mT.reshape(x.shape)
