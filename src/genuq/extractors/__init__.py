"""Feature extractors: the spaces in which samples are scored and judged.

`build(name)` gives one by name; `FromCallable` makes one of any function. A new one subclasses `Extractor` and
registers itself (copy `inception.py`, the shortest).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genuq.extractors.base import Extractor, FromCallable, WeightsUnavailableError
from genuq.extractors.efficientnet import EfficientNetLite0
from genuq.extractors.images import clean_resize, resize
from genuq.extractors.inception import CleanFidInception
from genuq.extractors.pixels import Pixels
from genuq.extractors.register import EXTRACTORS, ExtractorPart, build

if TYPE_CHECKING:
    from genuq.extractors.pretrained import Timm

__all__ = [
    "EXTRACTORS",
    "CleanFidInception",
    "EfficientNetLite0",
    "Extractor",
    "ExtractorPart",
    "FromCallable",
    "Pixels",
    "Timm",
    "WeightsUnavailableError",
    "build",
    "clean_resize",
    "resize",
]


def __getattr__(name: str) -> Any:
    """`Timm` on first use: importing timm takes seconds that most runs can do without."""
    if name == "Timm":
        from genuq.extractors.pretrained import Timm

        return Timm
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
