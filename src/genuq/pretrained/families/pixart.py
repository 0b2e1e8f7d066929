"""PixArt: latents, text of T5."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genuq.models import Rows
from genuq.pretrained.family import Encoded, Family, blank, named
from genuq.pretrained.register import FAMILIES

_WITH_SIZES = 128  # the sample_size of networks that are told of the image's size


@FAMILIES.add(label="PixArt", pipelines=("PixArtAlphaPipeline", "PixArtSigmaPipeline"))
class PixArt(Family):
    """A transformer on latents with text of T5 (Chen et al. 2023). Images have the size asked for, without bins."""

    name = "pixart"

    def encode(self, pipe: Any, prompts: list[str], negative: list[str] | None, guided: bool) -> Encoded:
        text, mask, null, null_mask = self.encoded(pipe, prompts, negative, guided)
        rows = named((text, mask), "text", "mask")
        return Encoded(rows, named((null, null_mask), "text", "mask") if guided else None)

    def blank(self, pipe: Any, count: int) -> Rows:
        text = blank(count, self.longest(pipe), pipe.transformer.config.caption_channels)
        return {"text": text, "mask": blank(count, self.longest(pipe), dtype=torch.int64)}

    def shared(self, pipe: Any) -> dict[str, Any]:
        if pipe.transformer.config.sample_size != _WITH_SIZES or type(pipe).__name__ != "PixArtAlphaPipeline":
            return {}
        height, width = self.asked.shape[1:]
        return {"resolution": torch.tensor([[height, width]]).float(), "aspect_ratio": torch.tensor([[height / width]])}

    def call(self, network: Any, x: Tensor, time_B: Tensor, rows: Any) -> Tensor:
        sizes = {key: rows.get(key) for key in ("resolution", "aspect_ratio")}
        return network(
            x,
            encoder_hidden_states=rows["text"],
            encoder_attention_mask=rows["mask"],
            timestep=time_B,
            added_cond_kwargs=sizes,
        ).sample
