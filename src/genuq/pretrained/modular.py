"""Modular pipelines of diffusers, as the ordinary pipelines of the same parts."""

from __future__ import annotations

import inspect
from typing import Any

from genuq.errors import ConfigurationError
from genuq.pretrained.register import pipelines

_BASE = "ModularPipeline"


def plain(pipe: Any) -> Any:
    """The ordinary pipeline with the parts of a modular one; any other pipeline as it is.

    Raises:
        ConfigurationError: genuq knows no ordinary pipeline of that name, a part is missing, or its guidance is that of
            a guider, which the ordinary pipeline has not.
    """
    names = [base.__name__ for base in type(pipe).__mro__]
    if _BASE not in names:
        return pipe
    import diffusers

    wanted = names[0].replace("Modular", "")
    kind = getattr(diffusers, wanted, None)
    if wanted not in pipelines() or kind is None:
        raise ConfigurationError(f"genuq knows no pipeline {wanted} in place of {names[0]}: give an ordinary pipeline.")
    parts = pipe.components
    if parts.get("guider") is not None:
        raise ConfigurationError(
            f"{names[0]} guides by {type(parts['guider']).__name__}, and genuq by what {wanted} does: give "
            f"{wanted} made of its parts, and the guidance_scale to the sampler."
        )
    takes = inspect.signature(kind.__init__).parameters
    missing = [name for name, each in takes.items() if name != "self" and each.default is each.empty]
    missing = [name for name in missing if parts.get(name) is None]
    if missing:
        raise ConfigurationError(f"{names[0]} has no {missing[0]}: load its parts (load_components), or update them.")
    return kind(**{name: parts[name] for name in takes if parts.get(name) is not None})
