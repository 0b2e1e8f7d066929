"""Solvers as affine stages with explicit coefficients."""

from __future__ import annotations

from typing import Any

from genuq.solvers.affine import AffineStage, Solver, apply, evaluations
from genuq.solvers.first_order import DDIM, DDPM, DDPMLearned, Euler
from genuq.solvers.grids import SPACINGS, KarrasLevels, Spacing, grid
from genuq.solvers.own import OwnScheduler
from genuq.solvers.register import SOLVERS, SolverPart
from genuq.solvers.scheduler import SchedulerSolver
from genuq.solvers.second_order import DPMSolver2, DPMSolverPlusPlus2M, Heun, HeunSigma
from genuq.solvers.third_order import DPMSolver3


def build(name: str, **options: Any) -> Solver:
    """The solver called `name`; with its options.

    Raises:
        ConfigurationError: no solver has this name, or it takes no such option.
    """
    return SOLVERS.make(name, **options)


__all__ = [
    "DDIM",
    "DDPM",
    "SOLVERS",
    "SPACINGS",
    "AffineStage",
    "DDPMLearned",
    "DPMSolver2",
    "DPMSolver3",
    "DPMSolverPlusPlus2M",
    "Euler",
    "Heun",
    "HeunSigma",
    "KarrasLevels",
    "OwnScheduler",
    "SchedulerSolver",
    "Solver",
    "SolverPart",
    "Spacing",
    "apply",
    "build",
    "evaluations",
    "grid",
]
