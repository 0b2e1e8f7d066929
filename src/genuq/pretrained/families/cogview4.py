"""CogView4: flow matching on latents, text of GLM without a mask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from genuq.models import Rows, padded
from genuq.pretrained.family import Asked, Encoded, Family, blank, ragged
from genuq.pretrained.register import FAMILIES


class _OnlyKeys(TorchFunctionMode):
    """Inside, attention sees the keys that a mask (B, L) has, whatever mask it is given.

    diffusers 0.42.1 adds CogView4's mask, of ones and noughts, to the logits, which masks nothing.
    """

    def __init__(self, mask_BL: Tensor) -> None:
        super().__init__()
        self.mask = mask_BL[:, None, None]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        given = dict(kwargs or {})
        if func is torch.nn.functional.scaled_dot_product_attention:
            given["attn_mask"] = self.mask
        return func(*args, **given)


@FAMILIES.add(label="CogView4", pipelines=("CogView4Pipeline",))
class CogView4(Family):
    """A transformer on latents with texts of any length, told of the image's size (Zheng et al. 2024)."""

    name = "cogview4"
    apart = True

    def __init__(self, pipe: Any, asked: Asked) -> None:
        super().__init__(pipe, asked)
        patch = int(pipe.transformer.config.patch_size)
        self.tokens = (asked.latent_shape[1] // patch) * (asked.latent_shape[2] // patch)

    def blank(self, pipe: Any, count: int) -> Rows:
        return {"text": [blank(self.longest(pipe), pipe.transformer.config.text_embed_dim)] * count}

    def encode(self, pipe: Any, prompts: list[str], negative: list[str] | None, guided: bool) -> Encoded:
        text, null = self.encoded(pipe, prompts, negative, guided)
        return Encoded(ragged(text, None), ragged(null, None) if guided else None)

    def shared(self, pipe: Any) -> dict[str, Any]:
        return {"size": torch.tensor([self.asked.shape[1:]]).float()}

    def settings(self, scheduler: Any, steps: int) -> Mapping[str, Any]:
        config = scheduler.config
        root = (self.tokens / config.get("base_image_seq_len", 256)) ** 0.5
        last = int(config.num_train_timesteps)
        times = torch.linspace(last, 1, steps, dtype=torch.float64).long().float()
        mu = root * config.get("max_shift", 0.75) + config.get("base_shift", 0.25)
        return {"timesteps": times.numpy(), "sigmas": (times / last).numpy(), "mu": mu}

    def call(self, network: Any, x: Tensor, time_B: Tensor, rows: Any) -> Tensor:
        text, mask_BL = padded(rows["text"])
        with _OnlyKeys(torch.nn.functional.pad(mask_BL, (0, self.tokens), value=True)):
            return network(
                hidden_states=x,
                encoder_hidden_states=text,
                timestep=time_B,
                original_size=rows["size"],
                target_size=rows["size"],
                crop_coords=torch.zeros_like(rows["size"]),
            ).sample
