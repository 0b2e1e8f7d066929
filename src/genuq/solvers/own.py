"""`scheduler`: the solver that a model brings itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from genuq.errors import ConfigurationError
from genuq.parts.bounds import NonNegative
from genuq.processes import Predicted, Process
from genuq.solvers.affine import AffineStage, Solver
from genuq.solvers.register import SOLVERS
from genuq.solvers.scheduler import SchedulerSolver


@SOLVERS.add(label="The model's own scheduler")
@dataclass(frozen=True)
class OwnScheduler(Solver):
    """In place of a solver until the model is known, which has it as `model.solver(directly, eta)`.

    Args:
        directly: sample by the scheduler itself, and not by its steps as coefficients. What needs no affine step
            remains: samples, their regenerations, and all scores of finished samples. None: where its steps are not
            affine (it clips, or thresholds).
        eta: noise of each step, where the scheduler takes it.
        rounds: with directly=true, states and guidance in the precision in which the pipeline keeps them, the network's
            for most, so that samples are its own; null: float32.
    """

    directly: bool | None = None
    eta: NonNegative = 0.0
    rounds: bool | None = None
    name = "scheduler"

    def of(self, model: Any) -> Solver:
        """The model's own.

        Raises:
            ConfigurationError: it has none.
        """
        make = getattr(model, "solver", None)
        if make is None:
            self._refuse()
        if self.rounds:
            return cast(Solver, make(bool(self.directly), self.eta, True))
        if self.directly is not None:
            return cast(Solver, make(self.directly, self.eta))
        found: SchedulerSolver = make(False, self.eta)
        return found if found.why_not_affine(model.steps) is None else cast(Solver, make(True, self.eta))

    def stages(self, process: Process, prediction: Predicted, times: Sequence[float]) -> list[AffineStage]:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ConfigurationError(
            "sampler=scheduler is the scheduler of a model that brings one (model=diffusers), and this model "
            "brings none: choose another sampler, sampler=euler for instance."
        )
