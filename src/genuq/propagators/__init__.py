"""Pixel-wise uncertainty: weight uncertainty propagated through a solver that is only observed."""

from __future__ import annotations

from typing import Any

from genuq.models import grid_times
from genuq.propagators.coherent import Coherent
from genuq.propagators.corrected import Corrected
from genuq.propagators.maps import pixel_map
from genuq.propagators.paper import Paper
from genuq.propagators.propagate import Propagation, propagate
from genuq.propagators.propagator import Follower, Journey, Propagator
from genuq.propagators.register import PROPAGATORS, PropagatorPart
from genuq.propagators.scores import image_score
from genuq.propagators.trajectory import Trajectory


def build(name: str, **options: Any) -> Propagator:
    """The propagator called `name`.

    Raises:
        ConfigurationError: none has this name, or it takes no such option.
    """
    return PROPAGATORS.make(name, **options)


__all__ = [
    "PROPAGATORS",
    "Coherent",
    "Corrected",
    "Follower",
    "Journey",
    "Paper",
    "Propagation",
    "Propagator",
    "PropagatorPart",
    "Trajectory",
    "build",
    "grid_times",
    "image_score",
    "pixel_map",
    "propagate",
]
