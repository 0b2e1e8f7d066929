"""Solvers as affine stages with explicit coefficients."""

from __future__ import annotations

from typing import Any

from genuq.solvers.affine import AffineStage, Solver, apply, evaluations, grid
from genuq.solvers.first_order import DDIM, DDPM, DDPMLearned, Euler
from genuq.solvers.own import OwnScheduler
from genuq.solvers.register import SOLVERS, SolverPart
from genuq.solvers.scheduler import SchedulerSolver
from genuq.solvers.second_order import DPMSolver2, DPMSolverPlusPlus2M, Heun


def build(name: str, **options: Any) -> Solver:
    """The solver called `name`; of genuq's own only DDIM has an option (`eta`).

    Raises:
        ConfigurationError: no solver has this name, or it takes no such option.
    """
    return SOLVERS.make(name, **options)


__all__ = [
    "DDIM",
    "DDPM",
    "SOLVERS",
    "AffineStage",
    "DDPMLearned",
    "DPMSolver2",
    "DPMSolverPlusPlus2M",
    "Euler",
    "Heun",
    "OwnScheduler",
    "SchedulerSolver",
    "Solver",
    "SolverPart",
    "apply",
    "build",
    "evaluations",
    "grid",
]
