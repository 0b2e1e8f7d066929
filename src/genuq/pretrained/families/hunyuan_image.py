"""HunyuanImage 2.1: flow matching on latents, texts of Qwen and, of what is to be written in the image, of ByT5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from genuq.errors import ConfigurationError
from genuq.models import Rows, padded
from genuq.pretrained.family import Asked, Encoded, Family, blank, ragged
from genuq.pretrained.guider import scale_of
from genuq.pretrained.register import FAMILIES

_REMEDY = "Set pipe.guider (and pipe.ocr_guider) to None or to diffusers' ClassifierFreeGuidance, as it comes."


@FAMILIES.add(label="HunyuanImage", pipelines=("HunyuanImagePipeline",))
class HunyuanImage(Family):
    """A transformer on deeply compressed latents; guidance is that of the pipeline's guider, where it has one."""

    name = "hunyuan_image"
    scale = "none"

    def __init__(self, pipe: Any, asked: Asked) -> None:
        super().__init__(pipe, asked)
        if pipe.transformer.config.use_meanflow:
            raise ConfigurationError(
                "this HunyuanImage is distilled by mean flow: its network is told of the next time too, which genuq's "
                "steps do not give. Take the one that is not distilled."
            )
        self.given = scale_of(pipe.guider, _REMEDY)
        apart = pipe.ocr_guider is not None and pipe.ocr_guider._enabled
        self.glyph_scale = scale_of(pipe.ocr_guider, _REMEDY) if apart else self.given
        self.told = bool(pipe.transformer.config.guidance_embeds)

    def genuq_scale(self, given: float, negative: bool) -> float:
        return self.given

    def blank(self, pipe: Any, count: int) -> Rows:
        """Without a text to be written in the image."""
        config, tokens = pipe.transformer.config, int(pipe.tokenizer_max_length)
        none = blank(0, config.text_embed_2_dim)
        return {"text": [blank(tokens, config.text_embed_dim)] * count, "glyphs": [none] * count}

    def guides(self, negative: bool) -> bool:
        return negative or self.given != 1.0

    def encode(self, pipe: Any, prompts: list[str], negative: list[str] | None, guided: bool) -> Encoded:
        rows = _rows(self.encoded(pipe, prompts, None))
        if any(map(len, rows["glyphs"])) and self.glyph_scale != self.given:
            raise ConfigurationError(
                f"a prompt asks for a text in the image, for which pipe.ocr_guider has a scale of {self.glyph_scale}, "
                f"and pipe.guider {self.given}: give both the same."
            )
        if not guided or (negative is None and self.given == 1.0):
            return Encoded(rows)
        return Encoded(rows, _rows(self.encoded(pipe, negative or [""] * len(prompts), None)))

    def shared(self, pipe: Any) -> dict[str, Any]:
        return {"guidance": 1000 * self.told_scale(pipe, "distilled_guidance_scale")} if self.told else {}

    def settings(self, scheduler: Any, steps: int) -> Mapping[str, Any]:
        return {"sigmas": torch.linspace(1, 0, steps + 1, dtype=torch.float64)[:-1].tolist()}

    def call(self, network: Any, x: Tensor, time_B: Tensor, rows: Any) -> Tensor:
        text, mask = padded(rows["text"])
        glyphs, glyphs_mask = padded(rows["glyphs"])
        return network(
            hidden_states=x,
            timestep=time_B.to(x.dtype),  # it computes its texts in the precision of the time, as its pipeline gives it
            guidance=rows.get("guidance"),
            encoder_hidden_states=text,
            encoder_attention_mask=mask,
            encoder_hidden_states_2=glyphs if glyphs.shape[1] else None,
            encoder_attention_mask_2=glyphs_mask,
        ).sample


def _rows(parts: Any) -> Rows:
    """The texts without their padding, of which there are hundreds of tokens, all masked."""
    text, mask, glyphs, glyphs_mask = parts
    return {**ragged(text, mask), "glyphs": ragged(glyphs, glyphs_mask)["text"]}
