"""Wan: flow matching on latents of films, or of single frames, text of T5."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genuq.errors import ConfigurationError
from genuq.models import Rows
from genuq.pretrained.family import Asked, Encoded, Family, blank, named
from genuq.pretrained.register import FAMILIES


@FAMILIES.add(label="Wan", pipelines=("WanPipeline",))
class Wan(Family):
    """A transformer on latents of films (C, F, H, W), or of one frame (C, H, W)."""

    name = "wan"
    apart = True
    films = True
    rounded = "answers"

    def __init__(self, pipe: Any, asked: Asked) -> None:
        super().__init__(pipe, asked)
        if pipe.config.boundary_ratio is not None or getattr(pipe, "transformer_2", None) is not None:
            raise ConfigurationError(
                "this Wan has two networks, transformer_2 below the boundary in time, and a posterior would be of one "
                "of them alone: genuq does not do that. Take one with a single network (Wan 2.1, or TI2V of Wan 2.2)."
            )
        self.patch = tuple(pipe.transformer.config.patch_size)
        self.by_token = bool(pipe.config.expand_timesteps)

    def blank(self, pipe: Any, count: int) -> Rows:
        return {"text": blank(count, self.longest(pipe), pipe.transformer.config.text_dim)}

    def encode(self, pipe: Any, prompts: list[str], negative: list[str] | None, guided: bool) -> Encoded:
        text, null = self.encoded(pipe, prompts, negative, guided)
        return Encoded(named((text,), "text"), named((null,), "text") if guided else None)

    def call(self, network: Any, x: Tensor, time_B: Tensor, rows: Any) -> Tensor:
        films = x if x.ndim == 5 else x[:, :, None]
        if self.by_token:
            tokens = torch.tensor(films.shape[2:]) // torch.tensor(self.patch)
            time_B = time_B[:, None].expand(-1, int(tokens.prod()))
        answer = network(hidden_states=films, timestep=time_B, encoder_hidden_states=rows["text"]).sample
        return answer.reshape(x.shape[0], -1, *x.shape[2:])
