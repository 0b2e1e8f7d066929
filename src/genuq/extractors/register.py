"""The register of extractors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from genuq.extractors.base import Extractor
from genuq.parts import Part, Register


@dataclass(frozen=True, kw_only=True)
class ExtractorPart(Part):
    """A feature extractor: makes an `Extractor`; it gets the data's `image_shape` (C, H, W) where it asks for it."""

    group: str = "extractor"
    needs_images: bool = True
    product: ClassVar[type | None] = Extractor

    @property
    def supplied(self) -> frozenset[str]:
        return frozenset({"image_shape"})


@dataclass(frozen=True, kw_only=True)
class TimmPart(ExtractorPart):
    """A model of timm.

    Attributes:
        model: its short name (clip, dino, dinov2) or its name in timm; the target gets it first.
    """

    model: str
    target: Any = "genuq.extractors.pretrained:Timm"
    internal: frozenset[str] = frozenset({"pretrained"})

    @property
    def leading(self) -> int:
        return 1

    def make(self, *given: Any, **options: Any) -> Any:
        return super().make(self.model, *given, **options)


def timm_model(name: str) -> TimmPart | None:
    """The entry of a name that only timm knows; None if it does not know it either."""
    import timm  # seconds of importing that the default extractor does without

    if not timm.is_model(name):
        return None
    return TimmPart(name=re.sub(r"\W", "_", name), label=name, model=name)


# `pretrained` imports timm, for seconds, and holds no entry.
EXTRACTORS = Register(ExtractorPart, "genuq.extractors", "extractor", fallback=timm_model, unread=("pretrained",))


def build(name: str, **options: Any) -> Extractor:
    """The extractor called `name`: efficientnet, clip, dino, dinov2, inception, pixels, or any model of timm.

    Args:
        options: the arguments of its class; `image_shape` may be given to all and reaches those that ask for it.
    Raises:
        ConfigurationError: an unknown name or option, with the nearest known one.
    """
    return EXTRACTORS.make(name, **options)
