"""The short names of timm models: which weights, and how their features are read."""

from __future__ import annotations

from dataclasses import dataclass

from genuq.extractors.register import EXTRACTORS, TimmPart


@dataclass(frozen=True)
class Encoder:
    """A timm model and how its features are read.

    Attributes:
        model: timm's name with the tag of the weights.
        image_size: pixels; None takes the size of the model's training.
        projection: keep the final linear layer (CLIP's projection into the space shared with text).
    """

    model: str
    image_size: int | None = None
    projection: bool = False


# clip: the un-normalised 512-d image embedding that DIFF-UQ scores in; OpenAI's weights need QuickGELU.
# dinov2: trained at 518 pixels, used at 224 as in most evaluations of generative models (16 x 16 patches).
ENCODERS = {
    "clip": Encoder("vit_base_patch32_clip_quickgelu_224.openai", projection=True),
    "dino": Encoder("vit_base_patch16_224.dino"),
    "dinov2": Encoder("vit_base_patch14_dinov2.lvd142m", image_size=224),
}

for _name, _label in {"clip": "CLIP", "dino": "DINO", "dinov2": "DINOv2"}.items():
    EXTRACTORS.register(TimmPart(name=_name, label=f"{_label} (timm)", model=_name))
