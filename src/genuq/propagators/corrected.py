"""`corrected`: BayesDiff's recursion with a centred covariance and the law of total variance.

V' = A^2 V + 2 A B Cov(x, f) + B^2 Var f + C^2 with Var f = E[Var(f | x)] + Var(E[f | x]), per pixel. With the slope
b = Cov(x, f) / V and the rest r = Var(E[f | x]) - b^2 V >= 0 it is a sum of squares,
V' = (A + B b)^2 V + B^2 (r + E[Var(f | x)]) + C^2. For solvers that look back, `Moments` carries the covariances with
the earlier states and predictions.
Source: Kou et al. 2024 (BayesDiff), section 3.3, corrected as in its derivation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from genuq.models import StageRecord
from genuq.parts.bounds import Count, Several, check, check_fields
from genuq.propagators.derivatives import Derivative
from genuq.propagators.moments import Moments
from genuq.propagators.propagator import (
    NOISES,
    PROBES,
    Follower,
    Journey,
    Propagator,
)
from genuq.propagators.register import PROPAGATORS
from genuq.propagators.slope import HeldSlope
from genuq.solvers import apply

_TINY = torch.finfo(torch.float64).tiny


@PROPAGATORS.add(label="BayesDiff, corrected")
@dataclass(frozen=True)
class Corrected(Propagator):
    """Weight noise independent from one evaluation to the next, as BayesDiff assumes.

    Args:
        covariance: how f answers to the state: `jvp` (Jacobian-vector products), `antithetic` (pairs of states
            E +- sqrt(V) z) or `monte_carlo` (centred states E + sqrt(V) z).
        probes: vectors z: products, pairs or states (at least 2) a stage.
        states: `carried`: z is an ensemble that goes through the solver itself and keeps how pixels move together;
            `independent`: fresh z at every stage, BayesDiff's N(E, diag V).
        skip: estimate the slope at every skip-th evaluation of the network; between them the last one is kept, as
            `HeldSlope` says.
        ancestral: `integrated`: noise of stochastic solvers counts into V (C^2) and not into E, as in BayesDiff;
            `given`: it is that of the sample, and V is what the weights alone cause.
        derivative: for `jvp`: `difference` (one evaluation) or `forward` (exact, about three in time).
    """

    covariance: Literal["jvp", "antithetic", "monte_carlo"] = "jvp"
    probes: Count = 1
    states: Literal["carried", "independent"] = "carried"
    skip: Count = 1
    ancestral: Literal["integrated", "given"] = "integrated"
    derivative: Derivative = "difference"
    name = "corrected"

    def __post_init__(self) -> None:
        check_fields(self, "propagator")
        if self.covariance == "monte_carlo":
            check("propagator.probes", self.probes, Several)

    def follow(self, journey: Journey) -> Follower:
        return _Follower(journey, self)


class _Follower(Follower):
    def __init__(self, journey: Journey, how: Corrected) -> None:
        self.journey, self.network, self.how = journey, journey.network, how
        self.centred = how.covariance == "monte_carlo"
        self.count = how.probes - 1 if self.centred else how.probes
        self.moments = Moments(journey.start.shape, journey.memory, journey.start.device)
        self.probe_sources, self.noise_sources = journey.sources(PROBES), journey.sources(NOISES)
        self.evaluation, self.since = 0, 0  # of the network, and those since the slope was estimated
        self.state = journey.start
        nothing = torch.zeros_like(journey.start, dtype=torch.float64)
        self.offset = nothing  # E - x, where the sample's own ancestral noise is not in E
        self.offsets: list[Tensor] = []
        self.prediction_offsets: list[Tensor] = []
        self.ensemble = torch.zeros((how.probes, *nothing.shape), dtype=torch.float64, device=nothing.device)
        self.ensembles: list[Tensor] = []
        self.prediction_ensembles: list[Tensor] = []
        self.held: HeldSlope | None = None

    @property
    def mean(self) -> Tensor:
        return self.state.double() + self.offset

    @property
    def variance(self) -> Tensor:
        return self.moments.variance

    def __call__(self, record: StageRecord) -> None:
        slope, answer, offset, rest = self._answer(record)
        self.moments.evaluate(slope, rest + self.network.predictive_variance())
        self._remember(answer, offset)
        self._step(record)
        self.evaluation += 1

    def _answer(self, record: StageRecord) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(slope of f, its change with the ensemble (probes, B, ...), with E - x, variance that other pixels cause)."""
        mean = None
        certain = not bool(self.variance.any())  # at the start there is nothing to answer to
        if not certain and (self.held is None or self.since == self.how.skip):
            mean = self._estimate()
            self.since = 0
        self.since += 1
        if self.held is None:
            nothing = torch.zeros_like(self.variance)
            return nothing, torch.zeros_like(self.ensemble), nothing, nothing
        slope, others = self.held.at(record.stage.t)
        others = others * _mean_of_image(self.variance).sqrt()
        offset = slope * self.offset if mean is None else mean - record.predictions[0].double()
        return slope, slope * self.ensemble + others, offset, others.square().sum(0) / self.count

    def _estimate(self) -> Tensor | None:
        """Renew the slope; the mean of f where the estimate has one."""
        z, scale, model = self._directions(), self.variance.sqrt(), self.network.model
        answer, mean = self._evaluate(z * scale)
        covariance = (z * answer).sum(0) / self.count
        slope = torch.where(scale > 0, covariance / scale, torch.zeros_like(scale))
        others = (answer - slope * scale * z) / _mean_of_image(self.variance).sqrt().clamp(min=_TINY)
        self.held = HeldSlope(model.process, model.prediction, self.network.record.stage.t, slope, others)
        return mean

    def _directions(self) -> Tensor:
        """z (probes, B, ...) of mean square 1 (and mean 0) at every pixel."""
        carried = self.how.states == "carried"
        return standardised(self.ensemble if carried else self._fresh(), self.centred)

    def _fresh(self) -> Tensor:
        draw = self.journey.normal if self.centred else self.journey.signs
        return draw(self.probe_sources, self.how.probes)

    def _evaluate(self, deviations: Tensor) -> tuple[Tensor, Tensor | None]:
        """(deviation of f for each deviation of the state, mean of f or None where it is f at the state)."""
        if self.how.covariance == "jvp":
            return torch.stack([self.network.along(u, self.how.derivative) for u in deviations]), None
        plus = torch.stack([self.network.predict(self._current + u).double() for u in deviations])
        if self.how.covariance == "monte_carlo":
            return plus - plus.mean(0), plus.mean(0)
        minus = torch.stack([self.network.predict(self._current - u).double() for u in deviations])
        return (plus - minus) / 2, ((plus + minus) / 2).mean(0)

    @property
    def _current(self) -> Tensor:
        return self.network.record.states[0].double() + self.offset

    def _remember(self, answer: Tensor, offset: Tensor) -> None:
        memory = self.journey.memory
        self.offsets = [self.offset, *self.offsets][:memory]
        self.prediction_offsets = [offset, *self.prediction_offsets][:memory]
        if self.how.states == "carried":
            changes = [self.network.deviation(self._weights(k)) for k in range(self.how.probes)]
            self.ensembles = [self.ensemble, *self.ensembles][:memory]
            self.prediction_ensembles = [answer + torch.stack(changes), *self.prediction_ensembles][:memory]

    def _weights(self, k: int) -> Tensor:
        return self.journey.weight_deviation(self.evaluation * self.how.probes + k)

    def _step(self, record: StageRecord) -> None:
        stage, integrated = record.stage, self.how.ancestral == "integrated"
        self.moments.step(stage, record.deviation if integrated else 0.0)
        own_noise = torch.zeros_like(self.offset) if record.noise is None else -record.noise.double()
        if not integrated:
            own_noise = torch.zeros_like(own_noise)
        self.offset = apply(stage, self.offsets, self.prediction_offsets, own_noise)
        self.state = record.result
        if self.how.states == "carried":
            fresh = own_noise.expand_as(self.ensemble)
            if stage.noise and integrated:
                fresh = self.journey.normal(self.noise_sources, self.how.probes) * (record.deviation / stage.noise)
            moved = apply(stage, self.ensembles, self.prediction_ensembles, fresh)
            self.ensemble = standardised(moved, self.centred) * self.variance.sqrt()


def _mean_of_image(values: Tensor) -> Tensor:
    """(B, 1, ...) mean of each image."""
    return values.mean(tuple(range(1, values.ndim)), keepdim=True)


def standardised(ensemble: Tensor, centred: bool) -> Tensor:
    """The ensemble (probes, B, ...) with mean square 1 at every pixel; centred: with mean 0 too, over probes - 1."""
    if centred:
        ensemble = ensemble - ensemble.mean(0)
    size = (ensemble.square().sum(0) / (len(ensemble) - 1 if centred else len(ensemble))).sqrt()
    if bool((size > 0).all()):
        return ensemble / size
    return torch.where(size > 0, ensemble / size.clamp(min=_TINY), 1.0)
