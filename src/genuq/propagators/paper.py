"""`paper`: the semantics of BayesDiff as released, faults included, so that a reader can see them.

Known faults, each reproduced in an exact case (experiments/bayesdiff_gaussian): the covariance is not centred, so that
the error of a mean over S states enters multiplied by f itself, and variances turn negative; the spread of E[f | x]
itself is missing from Var f; a skipped step keeps A^2 V and drops the network's pull towards the data.
Source: Kou et al., BayesDiff, ICLR 2024, section 3.3 and algorithm 1; no line of the released code was used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from genuq.errors import ConfigurationError
from genuq.models import GenerativeModel, StageRecord
from genuq.parts.bounds import Count, check_fields
from genuq.posteriors import Posterior
from genuq.propagators.propagator import PROBES, Follower, Journey, Propagator
from genuq.propagators.register import PROPAGATORS
from genuq.solvers import AffineStage, apply


@PROPAGATORS.add(label="BayesDiff", description="The published recursion of BayesDiff, step by step.")
@dataclass(frozen=True)
class Paper(Propagator):
    """V' = A^2 V + 2 A B Cov(x, f) + B^2 Var f + C^2 with Cov(x, f) = mean(x_i f_i) - E mean(f_i), x_i ~ N(E, V).

    A and B belong to the prediction type: the paper's models predict epsilon, where A^2 = 1 / (1 - beta) and skipped
    steps inflate V; for flow matching A = 1.

    Args:
        states: S, the states x_i of a step.
        skip: every skip-th step has Cov and Var f; between them V' = A^2 V + C^2.
    """

    states: Count = 10
    skip: Count = 1
    name = "paper"

    def __post_init__(self) -> None:
        check_fields(self, "propagator")

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
        self.states: list[Tensor] = []
        self.predictions: list[Tensor] = []

    @property
    def mean(self) -> Tensor:
        return self._mean

    @property
    def variance(self) -> Tensor:
        return self._variance

    def __call__(self, record: StageRecord) -> None:
        stage, due = record.stage, self.step % self.how.skip == 0
        if due:
            self._evaluate()
        if stage.intermediate:
            if due:
                self.states = [apply(stage, self.states, self.predictions, None), *self.states]
            self.since += 1
            return
        on_x, on_f = _coefficients(stage, self.since)
        kept = on_x**2 * self._variance + stage.noise**2
        if due:
            start, f = self.states[-1], self.predictions[0]
            covariance = (start * f).mean(0) - self._mean * f.mean(0)
            self._variance = kept + 2 * on_x * on_f * covariance + on_f**2 * self.network.predictive_variance()
            self._mean = on_x * self._mean + on_f * f.mean(0)
        else:
            self._variance = kept
            self._mean = on_x * self._mean + on_f * record.predictions[0].double()
        self.states, self.predictions = [], []
        self.step, self.since = self.step + 1, 0

    def _evaluate(self) -> None:
        """The predictions (S, B, ...) at the states of this stage; the step's first ones are drawn."""
        if not self.states:
            self._variance = self._variance.clamp(min=0)  # nothing can be drawn from a negative one; the last V stays
            self.states = [self._mean + self._variance.sqrt() * self.journey.normal(self.sources, self.how.states)]
        f = torch.stack([self.network.predict(x).double() for x in self.states[0]])
        self.predictions = [f, *self.predictions]
