"""Z-Image: flow matching with time and prediction reversed, lists in place of batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from genuq.models import Rows
from genuq.pretrained.family import Asked, Encoded, Family, at_positions, blank, dynamic_shift, even_sigmas
from genuq.pretrained.register import FAMILIES

_HEAD = "all_final_layer.2-1.linear"


@FAMILIES.add(label="Z-Image", pipelines=("ZImagePipeline",))
class ZImage(Family):
    """A transformer on latents with texts of any length; its pipeline's scale g is 1 + g here."""

    name = "z_image"
    rounded = "nothing"
    prediction = "minus_flow"

    def __init__(self, pipe: Any, asked: Asked) -> None:
        super().__init__(pipe, asked)
        self.tokens = (asked.latent_shape[1] // 2) * (asked.latent_shape[2] // 2)

    @classmethod
    def side(cls, pipe: Any) -> int:
        return 1024

    def genuq_scale(self, given: float, negative: bool) -> float:
        return 1 + max(given, 0.0)

    def encode(self, pipe: Any, prompts: list[str], negative: list[str] | None, guided: bool) -> Encoded:
        text, null = self.encoded(pipe, prompts, negative, guided)
        return Encoded(_rows(text), _rows(null) if guided else None)

    def blank(self, pipe: Any, count: int) -> Rows:
        return {"text": [blank(self.longest(pipe), pipe.transformer.config.cap_feat_dim)] * count}

    def settings(self, scheduler: Any, steps: int) -> Mapping[str, Any]:
        return {"sigmas": even_sigmas(steps), "mu": dynamic_shift(scheduler, self.tokens)}

    def call(self, network: Any, x: Tensor, time_B: Tensor, rows: Any) -> Tensor:
        image_N = torch.arange(self.tokens, device=x.device)  # the tokens of the text come behind
        with at_positions(network.get_submodule(_HEAD), image_N.expand(len(x), -1)):
            answers = network(list(x[:, :, None].unbind(0)), (1000 - time_B) / 1000, rows["text"], return_dict=False)[0]
        return torch.stack(list(answers))[:, :, 0]


def _rows(texts: list[Tensor]) -> dict[str, list[Tensor]]:
    return {"text": [text.detach().cpu() for text in texts]}
