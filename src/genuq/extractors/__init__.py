"""Feature extractors: the spaces in which samples are scored and judged.

`build(name)` gives one by name; `FromCallable` makes one of any function. A new one subclasses `Extractor` (copy
`inception.py`, the shortest) and gets a line in `registry.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genuq.extractors.base import Extractor, FromCallable, Pixels, WeightsUnavailableError
from genuq.extractors.efficientnet import EfficientNetLite0
from genuq.extractors.images import clean_resize, resize
from genuq.extractors.inception import CleanFidInception
from genuq.extractors.registry import build

if TYPE_CHECKING:
    from genuq.extractors.pretrained import Timm

__all__ = [
    "CleanFidInception",
    "EfficientNetLite0",
    "Extractor",
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
