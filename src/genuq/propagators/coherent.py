"""`coherent`: one weight draw for the whole trajectory, carried through the solver to first order.

With x' = sum a x + sum b f along the sampler's own trajectory, a weight deviation v moves the states by u:
u' = sum a u + sum b (J_x f u + (df/dw) v), J_x f by Jacobian-vector products. V is the second moment of u over draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from genuq.errors import ConfigurationError
from genuq.models import GenerativeModel, StageRecord
from genuq.parts.bounds import Several, check_fields
from genuq.posteriors import CurvaturePosterior, LastLayerPosterior, Posterior
from genuq.propagators.derivatives import Derivative
from genuq.propagators.propagator import (
    Follower,
    Journey,
    Propagator,
    head_deviation,
    moves_head_alone,
)
from genuq.propagators.register import PROPAGATORS
from genuq.solvers import AffineStage, apply


@PROPAGATORS.add(label="Coherent draws", needs_variance=False)
@dataclass(frozen=True)
class Coherent(Propagator):
    """The variance that regenerating the sample under weight draws would show, to first order in the draws.

    It does not shrink with the number of steps. Needs only draws: any posterior near the trained weights will do. Under
    a last-layer posterior (df/dw) v is exact and free; under others it is part of the Jacobian-vector product.

    Args:
        draws: M; draw m is the posterior's own draw m, so that results compare draw by draw with regenerations. None:
            every direction of a last-layer posterior in turn, without Monte-Carlo error (outputs times inputs of the
            head: for small heads only).
        derivative: `difference` (one evaluation a draw) or `forward` (exact, about three in time).
    """

    draws: Several | None = 8
    derivative: Derivative = "difference"
    name = "coherent"

    def __post_init__(self) -> None:
        check_fields(self, "propagator")

    @property
    def needs_affine_guidance(self) -> bool:
        return self.draws is None

    def check(self, model: GenerativeModel, posterior: Posterior, stages: Sequence[AffineStage]) -> None:
        posterior.require_final()
        posterior.require_weights_of(model)
        if self.draws is None and not isinstance(posterior, LastLayerPosterior):
            raise ConfigurationError(
                f"propagator.draws = null needs a last-layer posterior, not '{posterior.kind}'. Give a number of draws."
            )

    def follow(self, journey: Journey) -> Follower:
        return _Follower(journey, self)


class _Follower(Follower):
    """Deviations u (M, B, ...) of the newest states and predictions, newest first."""

    def __init__(self, journey: Journey, how: Coherent) -> None:
        self.network, self.memory, self.how = journey.network, journey.memory, how
        posterior = journey.network.posterior
        self.head_alone = moves_head_alone(journey.network.model, posterior) and journey.network.affine
        if self.head_alone:
            self.matrices, self.weights = _matrices(journey, how.draws), []
        else:
            self.matrices, self.weights = [], _deviations(posterior, how.draws or 0, journey.seed)
        self.around_mean = isinstance(posterior, CurvaturePosterior)  # the draws' mean is the trained weights
        count = len(self.matrices) or len(self.weights)
        self.state = journey.start
        self.now = torch.zeros((count, *journey.start.shape), dtype=torch.float64, device=journey.start.device)
        self.states: list[Tensor] = []
        self.predictions: list[Tensor] = []

    def __call__(self, record: StageRecord) -> None:
        first = not self.states
        self.states = [self.now, *self.states][: self.memory]
        answers = [self._answer(m, u, first) for m, u in enumerate(self.now)]
        self.predictions = [torch.stack(answers), *self.predictions][: self.memory]
        self.now = apply(replace(record.stage, noise=0.0), self.states, self.predictions, None)
        self.state = record.result

    def _answer(self, m: int, u: Tensor, first: bool) -> Tensor:
        """The deviation of f under draw m where the state deviates by u; nothing at the first stage."""
        if not self.head_alone:
            return self.network.along_with_weights(u, self.weights[m], self.how.derivative)
        direct = self.network.deviation(self.matrices[m])
        return direct if first else direct + self.network.along(u, self.how.derivative)

    @property
    def mean(self) -> Tensor:
        return self.state.double() if self.around_mean else self.state.double() + self.now.mean(0)

    @property
    def variance(self) -> Tensor:
        if self.how.draws is None:
            return self.now.square().sum(0)
        return self.now.square().mean(0) if self.around_mean else self.now.var(0)


def _matrices(journey: Journey, draws: int | None) -> list[Tensor]:
    """Deviations (O, K) of the head's weights: those of the posterior's draws, or one for each direction."""
    model, posterior = journey.network.model, journey.network.posterior
    if draws is not None:
        return [head_deviation(model, posterior, m, journey.seed) for m in range(draws)]
    assert isinstance(posterior, LastLayerPosterior)
    active = posterior.active_O.nonzero().flatten().tolist()
    return [_direction(posterior, row, column) for row in active for column in range(posterior.head.inputs)]


def _direction(posterior: LastLayerPosterior, row: int, column: int) -> Tensor:
    unit_OK = torch.zeros_like(posterior.mean_OK)
    unit_OK[row, column] = 1.0
    return posterior.deviation(unit_OK) * posterior.active_O[:, None]


def _deviations(posterior: Posterior, draws: int, seed: int) -> list[dict[str, Tensor]]:
    """Deviations of the posterior's parameters from the trained ones, by name."""
    trained = {name: value.detach() for name, value in posterior.covered().items()}
    return [
        {name: value.to(trained[name].device) - trained[name] for name, value in posterior.draw(m, seed).items()}
        for m in range(draws)
    ]
