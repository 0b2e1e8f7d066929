"""UNet2DModel: diffusion of pixels, without classes or with an embedding of them."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from genuq.errors import ConfigurationError
from genuq.pretrained.family import Family
from genuq.pretrained.register import FAMILIES


@FAMILIES.add(label="DDPM", pipelines=("DDPMPipeline", "DDIMPipeline"))
class UNet2D(Family):
    """A U-Net on pixels (Ho et al. 2020); it has no null class."""

    name = "unet2d"
    component, prompted, guidance = "unet", False, None

    @classmethod
    def side(cls, pipe: Any) -> int:
        size = pipe.unet.config.sample_size
        if not isinstance(size, int):
            raise ConfigurationError(f"the network's sample_size is {size}: give height and width.")
        return size

    @classmethod
    def num_classes(cls, pipe: Any) -> int:
        return int(pipe.unet.config.num_class_embeds or 0)

    def call(self, network: Any, x: Tensor, time_B: Tensor, rows: Any) -> Tensor:
        return network(x, time_B, class_labels=rows).sample
