"""Modular pipelines of diffusers, as the ordinary pipelines of the same parts."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from genuq.errors import ConfigurationError
from genuq.pretrained.guider import scale_of
from genuq.pretrained.register import pipelines

_BASE = "ModularPipeline"
_REMEDY = "Give it another: pipe.update_components(guider=diffusers.ClassifierFreeGuidance(guidance_scale=...))."


@dataclass(frozen=True)
class Ordinary:
    """The ordinary pipeline with the parts of a modular one, and what the modular one does otherwise.

    Attributes:
        pipe: the ordinary pipeline.
        scale: s of (1 - s) f(null) + s f(prompt) that the modular one's guider guides by; None: it has no guider.
        steps: that the modular one takes by default; None: as many as the ordinary one.
    """

    pipe: Any
    scale: float | None = None
    steps: int | None = None


def ordinary(pipe: Any) -> Ordinary:
    """The ordinary pipeline of a modular one; any other pipeline as it is.

    Raises:
        ConfigurationError: genuq knows no ordinary pipeline of that name, a part is missing, or its guider does what
            genuq does not.
    """
    if _BASE not in [base.__name__ for base in type(pipe).__mro__]:
        return Ordinary(pipe)
    guider = pipe.components.get("guider")
    scale = None if guider is None else scale_of(guider, _REMEDY)
    steps = {each.name: each.default for each in pipe.blocks.inputs}.get("num_inference_steps")
    return Ordinary(_made(pipe), scale, steps)


def _made(pipe: Any) -> Any:
    """The ordinary pipeline with a modular one's parts and settings."""
    import diffusers

    name = type(pipe).__name__
    wanted = name.replace("Modular", "")
    kind = getattr(diffusers, wanted, None)
    if wanted not in pipelines() or kind is None:
        raise ConfigurationError(f"genuq knows no pipeline {wanted} in place of {name}: give an ordinary pipeline.")
    takes = inspect.signature(kind.__init__).parameters
    given = {**pipe.config, **pipe.components}
    missing = [key for key, each in takes.items() if key != "self" and each.default is each.empty]
    missing = [key for key in missing if given.get(key) is None]
    if missing:
        raise ConfigurationError(f"{name} has no {missing[0]}: load its parts (load_components), or update them.")
    return kind(**{key: given[key] for key in takes if given.get(key) is not None})
