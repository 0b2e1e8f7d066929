"""DiT: latents, classes of ImageNet."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from genuq.pretrained.family import Family
from genuq.pretrained.register import FAMILIES


@FAMILIES.add(label="DiT", pipelines=("DiTPipeline",))
class DiT(Family):
    """A transformer on latents (Peebles & Xie 2023); the class after the last is the null class."""

    name = "dit"
    prompted = False

    @classmethod
    def side(cls, pipe: Any) -> int:
        return int(pipe.transformer.config.sample_size) * 2 ** (len(pipe.vae.config.block_out_channels) - 1)

    @classmethod
    def num_classes(cls, pipe: Any) -> int:
        return int(pipe.transformer.config.num_embeds_ada_norm)

    def call(self, network: Any, x: Tensor, time_B: Tensor, rows: Any) -> Tensor:
        return network(x, timestep=time_B, class_labels=rows).sample
