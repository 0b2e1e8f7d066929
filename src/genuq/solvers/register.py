"""The register of solvers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from genuq.parts import Part, Register
from genuq.solvers.affine import Solver


@dataclass(frozen=True, kw_only=True)
class SolverPart(Part):
    """A solver: a subclass of `Solver`, called by its `name`; what its constructor takes are its options."""

    group: str = "solver"
    product: ClassVar[type | None] = Solver


SOLVERS = Register(SolverPart, "genuq.solvers", "sampler.name")
