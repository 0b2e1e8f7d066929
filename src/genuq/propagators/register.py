"""The register of propagators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from genuq.parts import Part, Register
from genuq.propagators.propagator import Propagator


@dataclass(frozen=True, kw_only=True)
class PropagatorPart(Part):
    """A propagator: a subclass of `Propagator`, called by its `name`; what its constructor takes are its options.

    Attributes:
        needs_variance: of the posterior's predictions in closed form; without it draws of the weights are enough.
    """

    group: str = "propagator"
    needs_variance: bool = True
    product: ClassVar[type | None] = Propagator


PROPAGATORS = Register(PropagatorPart, "genuq.propagators", "propagator.name")
