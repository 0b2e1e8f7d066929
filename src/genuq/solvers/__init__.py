"""Solvers as affine stages with explicit coefficients."""

from __future__ import annotations

from genuq.errors import ConfigurationError, did_you_mean
from genuq.solvers.affine import Solver, Stage, apply, evaluations, grid
from genuq.solvers.first_order import DDIM, DDPM, Euler
from genuq.solvers.second_order import DPMSolver2, DPMSolverPlusPlus2M, Heun

SOLVERS: dict[str, type[Solver]] = {
    solver.name: solver for solver in (DDPM, DDIM, Euler, Heun, DPMSolver2, DPMSolverPlusPlus2M)
}


def build(name: str, **options: float) -> Solver:
    """The solver called `name`; only DDIM takes an option (`eta`).

    Raises:
        ConfigurationError: no solver has this name, or it takes no such option.
    """
    if name not in SOLVERS:
        raise ConfigurationError(f"sampler.name = '{name}' is not a solver." + did_you_mean(name, SOLVERS))
    try:
        return SOLVERS[name](**options)
    except TypeError as error:
        raise ConfigurationError(f"solver '{name}' takes no option {sorted(options)}.") from error


__all__ = [
    "DDIM",
    "DDPM",
    "SOLVERS",
    "DPMSolver2",
    "DPMSolverPlusPlus2M",
    "Euler",
    "Heun",
    "Solver",
    "Stage",
    "apply",
    "build",
    "evaluations",
    "grid",
]
