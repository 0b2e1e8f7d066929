"""Extractors by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from genuq.errors import ConfigurationError, did_you_mean
from genuq.extractors.base import Extractor, Pixels
from genuq.extractors.efficientnet import EfficientNetLite0
from genuq.extractors.encoders import ENCODERS
from genuq.extractors.inception import CleanFidInception

EXTRACTORS: dict[str, Callable[..., Extractor]] = {
    "efficientnet": EfficientNetLite0,
    "inception": CleanFidInception,
    "pixels": Pixels,
}


def build(name: str, **options: Any) -> Extractor:
    """The extractor called `name`: efficientnet, clip, dino, dinov2, inception, pixels, or any model of timm.

    Args:
        options: the arguments of its class.
    Raises:
        ConfigurationError: an unknown name or option, with the nearest known one.
    """
    constructor = EXTRACTORS.get(name) or _timm_model(name)
    known = inspect.signature(constructor).parameters
    for option in options:
        if option not in known:
            raise ConfigurationError(f"Extractor '{name}' has no option '{option}'.{did_you_mean(option, known)}")
    return constructor(**options)


def _timm_model(name: str) -> Callable[..., Extractor]:
    import timm  # seconds of importing that the default extractor does without

    from genuq.extractors.pretrained import Timm

    if name not in ENCODERS and not timm.is_model(name):
        hint = did_you_mean(name, [*EXTRACTORS, *ENCODERS])
        raise ConfigurationError(f"'{name}' is neither an extractor of genuq nor a model of timm.{hint}")
    return partial(Timm, name)
