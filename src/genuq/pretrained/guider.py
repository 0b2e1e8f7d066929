"""Guiders of diffusers' as the scale of classifier-free guidance."""

from __future__ import annotations

from typing import Any

from genuq.errors import ConfigurationError

_PLAIN = {"guidance_rescale": 0.0, "_start": 0.0, "_stop": 1.0}


def scale_of(guider: Any, remedy: str) -> float:
    """s of (1 - s) f(null) + s f(prompt), 1 for a guider that is disabled, or none.

    Args:
        guider: of diffusers', or None.
        remedy: a sentence for errors: what to put in the guider's place.

    Raises:
        ConfigurationError: a guider that is not classifier-free guidance, the same at every step.
    """
    if guider is None or not guider._enabled:
        return 1.0
    name = type(guider).__name__
    if name != "ClassifierFreeGuidance":
        raise ConfigurationError(f"genuq does not know the guidance of {name}. {remedy}")
    for attribute, plain in _PLAIN.items():
        found = getattr(guider, attribute)
        if found != plain:
            key = attribute.removeprefix("_")
            raise ConfigurationError(f"{name} has {key} = {found}, which genuq does not do. {remedy}")
    scale = float(guider.guidance_scale)
    return 1.0 + scale if guider.use_original_formulation else scale
