"""What all propagators answer to: `check` refuses what they cannot treat, `follow` watches one batch's trajectory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from genuq.errors import ConfigurationError
from genuq.models import GenerativeModel, Sampler, StageRecord
from genuq.models.offloaded import parameters_of
from genuq.posteriors import Posterior
from genuq.posteriors.curvature.head import head_of
from genuq.propagators.network import FollowedNetwork
from genuq.randomness import generators, key, normal
from genuq.solvers import AffineStage

PROBES, NOISES, DRAWS = "propagator probes", "propagator noise", "propagator weights"


@dataclass(frozen=True)
class Journey:
    """One batch on its way: where it starts, along which stages, with which randomness of its own.

    Attributes:
        start: x_T (B, *latent_shape).
        stages: of the solver.
        indices: of the samples.
        seed: of the propagator's randomness; the samples' own is the sampler's.
        kept: the stages, by number, after which mean and variance are asked for; the last one always is.
    """

    network: FollowedNetwork
    start: Tensor
    stages: Sequence[AffineStage]
    indices: Sequence[int]
    seed: int
    kept: Sequence[int] = ()

    @property
    def memory(self) -> int:
        """How many states or predictions a stage looks back to."""
        return max(max(len(stage.x), len(stage.f)) for stage in self.stages)

    def sources(self, stream: str) -> list[torch.Generator]:
        """One generator a sample, so that a result does not depend on the batch."""
        return generators(self.seed, self.indices, stream)

    def normal(self, sources: Sequence[torch.Generator], count: int) -> Tensor:
        """Standard normal (count, B, *latent_shape), float64 on the model's device."""
        return normal(sources, (count, *self.start.shape[1:])).transpose(0, 1).to(self.start.device).double()

    def signs(self, sources: Sequence[torch.Generator], count: int) -> Tensor:
        """Rademacher signs (count, B, *latent_shape), float64."""
        return torch.where(self.normal(sources, count) < 0, -1.0, 1.0).double()

    def weight_deviation(self, number: int) -> Tensor:
        """(O, K) deviation of the head's weights, draw `number` of the propagator's own, the same for all samples."""
        return head_deviation(self.network.model, self.network.posterior, number, key(self.seed, 0, DRAWS))


class Follower(ABC):
    """Watches one batch; `mean` and `variance` are those of the newest state, (B, *latent_shape) float64, per pixel.

    They are read before the first stage and after the stages that `Journey.kept` names.
    """

    @abstractmethod
    def __call__(self, record: StageRecord) -> None: ...

    @property
    @abstractmethod
    def mean(self) -> Tensor: ...

    @property
    @abstractmethod
    def variance(self) -> Tensor: ...


class Propagator(ABC):
    """A way to carry weight uncertainty through a solver.

    Attributes:
        name: in configurations and tables.
    """

    name: ClassVar[str]

    @property
    def needs_affine_guidance(self) -> bool:
        """Whether it reads the weights of the branches of a guidance."""
        return True

    def check(self, model: GenerativeModel, posterior: Posterior, stages: Sequence[AffineStage]) -> None:
        """Refuse, before any work, what cannot be treated.

        Raises:
            ConfigurationError: no scale yet, or a posterior without a closed-form variance of this model's head.
        """
        require_closed_form(self.name, model, posterior)

    @abstractmethod
    def follow(self, journey: Journey) -> Follower:
        """A fresh follower of one batch."""


def require_affine_guidance(propagator: Propagator, model: GenerativeModel, sampler: Sampler) -> None:
    """Raise ConfigurationError for a guidance that is not affine, unless the propagator can do without."""
    if model.branches(sampler.guidance_scale) == 1 or not propagator.needs_affine_guidance:
        return
    guidance = model.require_guidance(sampler.guidance_scale)
    if not guidance.affine:
        raise ConfigurationError(
            f"propagator '{propagator.name}' needs a guidance that is affine in the predictions, which "
            f"'{guidance.name}' is not. Set sampler.guidance_scale = 1, take plain classifier-free guidance "
            "(genuq.models.CLASSIFIER_FREE), or propagator=coherent with a number of draws."
        )


def require_affine(name: str, sampler: Sampler) -> None:
    """Raise ConfigurationError for a sampler whose steps are not affine in the predictions."""
    if sampler.clip_x0:
        raise ConfigurationError(
            f"propagator '{name}' follows steps that are affine in the predictions, which sampler.clip_x0 = true makes "
            "them not. Set it to false, or use scores of weight draws, which need no propagator."
        )


def require_closed_form(name: str, model: GenerativeModel, posterior: Posterior) -> None:
    """Raise ConfigurationError unless the posterior is final, of this head, and has a closed-form variance."""
    if not posterior.closed_form:
        raise ConfigurationError(
            f"propagator '{name}' needs the closed-form variance of a last layer, which posterior '{posterior.kind}' "
            "does not have. Choose a last-layer posterior (exact_laplace, diagonal_laplace), or propagator=coherent, "
            "which needs only weight draws."
        )
    if not moves_head_alone(model, posterior):
        raise ConfigurationError(
            f"the posterior is about another layer than model.head = '{model.head_name}'. Fit it to this model."
        )
    posterior.require_final()


def moves_head_alone(model: GenerativeModel, posterior: Posterior) -> bool:
    """Whether the posterior's parameters are those of this model's head (or some of them)."""
    own = {id(value) for value in model.head.parameters()}
    return all(id(posterior.module.get_parameter(name)) in own for name in posterior.covered())


def head_deviation(model: GenerativeModel, posterior: Posterior, index: int, seed: int) -> Tensor:
    """(O, K), float64 on the CPU: what weight draw `index` of a posterior of the head changes."""
    prefix = "" if posterior.module is model.head else f"{model.head_name}."
    trained = {name: value.detach() for name, value in parameters_of(model.head).items()}
    drawn = {name.removeprefix(prefix): value for name, value in posterior.draw(index, seed).items()}
    head = head_of(model.head)
    return (head.flattened({**trained, **drawn}) - head.flattened(trained)).cpu()
