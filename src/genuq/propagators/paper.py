"""`paper`: the semantics of BayesDiff as released, faults included, so that a reader can see them.

Known faults, each reproduced in an exact case (experiments/bayesdiff_gaussian, experiments/papers_as_released): the
covariance is not centred, so that the error of a mean over S states enters multiplied by f itself, and variances turn
negative; the spread of E[f | x] itself is missing from Var f; a skipped step keeps A^2 V and drops the network's pull
towards the data; branches of a guidance count as independent, though one draw of the head serves both.
Source: Kou et al., BayesDiff, ICLR 2024, section 3.3 and algorithm 1; no line of the released code was used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from genuq.errors import ConfigurationError
from genuq.identity import where_given
from genuq.models import GenerativeModel, StageRecord
from genuq.parts.bounds import Count, OneOf, Several, check, check_fields
from genuq.posteriors import Posterior
from genuq.propagators.propagator import PROBES, Follower, Journey, Propagator
from genuq.propagators.register import PROPAGATORS
from genuq.solvers import AffineStage, apply

UNCENTRED, NO_TOTAL, DROPPED, INDEPENDENT = FAULTS = (
    "uncentred_covariance",
    "missing_total_variance",
    "dropped_slope",
    "independent_branches",
)
RELEASED = (UNCENTRED, NO_TOTAL, DROPPED)


@PROPAGATORS.add(
    label="BayesDiff, as released", description="The released recursion of BayesDiff, step by step, with its faults."
)
@dataclass(frozen=True)
class Paper(Propagator):
    """V' = A^2 V + 2 A B Cov(x, f) + B^2 Var f + C^2 with Cov(x, f) = mean(x_i f_i) - E mean(f_i), x_i ~ N(E, V).

    A and B belong to the prediction type: the paper's models predict epsilon, where A^2 = 1 / (1 - beta) and skipped
    steps inflate V; for flow matching A = 1. Each fault can be kept alone; without any it is the recursion as derived,
    from as many drawn states (`propagator=corrected` needs fewer, and treats all solvers).

    Args:
        states: S, the states x_i of a step; at least 2 where a moment is centred.
        skip: every skip-th step has Cov and Var f; between them V' = A^2 V + C^2.
        faults: which are kept. `uncentred_covariance`: as above; without it the centred one. `missing_total_variance`:
            Var f is E[Var(f | x)] alone; without it Var(E[f | x]) is added. `dropped_slope`: skipped steps as above;
            without it they keep the last slope Cov / V, and have Var f. `independent_branches`: with guidance the sum
            of each branch's own variance times its weight squared; without it the variance of the guided feature.
            None: the first three.
    """

    states: Count = 10
    skip: Count = 1
    faults: tuple[Annotated[str, OneOf(*FAULTS)], ...] | None = where_given(None)
    name = "paper"

    def has(self, fault: str) -> bool:
        """Whether a fault is kept."""
        return fault in (RELEASED if self.faults is None else self.faults)

    def __post_init__(self) -> None:
        check_fields(self, "propagator")
        if not (self.has(UNCENTRED) and self.has(NO_TOTAL)):
            check("propagator.states", self.states, Several)

    def check(self, model: GenerativeModel, posterior: Posterior, stages: Sequence[AffineStage]) -> None:
        super().check(model, posterior, stages)
        since = 0  # stages since the step began
        for stage in stages:
            if not stage.intermediate:
                _coefficients(stage, since)
            since = since + 1 if stage.intermediate else 0

    def follow(self, journey: Journey) -> Follower:
        return _Follower(journey, self)


def _coefficients(stage: AffineStage, since: int) -> tuple[float, float]:
    """(A, B) of a step that began `since` stages ago: x' = A x_start + B f_newest."""
    on_start = stage.x[since] if since < len(stage.x) else 0.0
    others = [*stage.x[:since], *stage.x[since + 1 :], *stage.f[1:]]
    if any(others):
        raise ConfigurationError(
            f"propagator 'paper' knows one state and one prediction in a step; the step to t = {stage.t_next:g} "
            "combines more. Choose propagator=corrected, or sampler euler, ddim, ddpm, or dpm_solver_2 with epsilon."
        )
    return on_start, stage.f[0]


class _Follower(Follower):
    def __init__(self, journey: Journey, how: Paper) -> None:
        self.journey, self.network, self.how = journey, journey.network, how
        self.sources = journey.sources(PROBES)
        self._mean = journey.start.double()
        self._variance = torch.zeros_like(self._mean)
        self.step, self.since = 0, 0
        self.slope: Tensor | None = None  # Cov / V, where a skipped step keeps it
        self.states: list[Tensor] = []
        self.predictions: list[Tensor] = []

    @property
    def mean(self) -> Tensor:
        return self._mean

    @property
    def variance(self) -> Tensor:
        return self._variance

    def __call__(self, record: StageRecord) -> None:
        stage = record.stage
        due = self.step % self.how.skip == 0 or not (self.slope is not None or self.how.has(DROPPED))
        if due:
            self._evaluate()
        if stage.intermediate:
            if due:
                self.states = [apply(stage, self.states, self.predictions, None), *self.states]
            self.since += 1
            return
        on_x, on_f = _coefficients(stage, self.since)
        f = self.predictions[0].mean(0) if due else record.predictions[0].double()
        self._variance = on_x**2 * self._variance + record.deviation**2 + self._from_network(on_x, on_f, due)
        self._mean = on_x * self._mean + on_f * f
        self.states, self.predictions = [], []
        self.step, self.since = self.step + 1, 0

    def _from_network(self, on_x: float, on_f: float, due: bool) -> Tensor | float:
        """What f adds to A^2 V + C^2: 2 A B Cov(x, f) + B^2 Var f."""
        if not due and self.slope is None:
            return 0.0
        covariance, spread = self._estimated() if due else self._kept()
        network, independent = self.network, self.how.has(INDEPENDENT)
        within = network.variance_of_independent_branches() if independent else network.predictive_variance()
        return 2 * on_x * on_f * covariance + on_f**2 * (within if self.how.has(NO_TOTAL) else within + spread)

    def _estimated(self) -> tuple[Tensor, Tensor]:
        """(Cov(x, f), Var(E[f | x])) of the states of this step."""
        start, f = self.states[-1], self.predictions[0]
        if self.how.has(UNCENTRED):
            covariance = (start * f).mean(0) - self._mean * f.mean(0)
        else:
            covariance = ((start - start.mean(0)) * (f - f.mean(0))).sum(0) / (len(f) - 1)
        if not self.how.has(DROPPED) and bool(self._variance.any()):
            self.slope = torch.where(self._variance > 0, covariance / self._variance, 0.0)
        return covariance, torch.zeros_like(covariance) if self.how.has(NO_TOTAL) else f.var(0)

    def _kept(self) -> tuple[Tensor, Tensor]:
        """The same by the slope of the last estimate."""
        assert self.slope is not None
        return self.slope * self._variance, self.slope.square() * self._variance

    def _evaluate(self) -> None:
        """The predictions (S, B, ...) at the states of this stage; the step's first ones are drawn."""
        if not self.states:
            self._variance = self._variance.clamp(min=0)  # nothing can be drawn from a negative one; the last V stays
            self.states = [self._mean + self._variance.sqrt() * self.journey.normal(self.sources, self.how.states)]
        f = torch.stack([self.network.predict(x).double() for x in self.states[0]])
        self.predictions = [f, *self.predictions]
