"""What every pretrained model is: a network, how its family calls it, and the scheduler that samples from it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, Self

import torch
from torch import Tensor

from genuq.errors import ConfigurationError
from genuq.models import GenerativeModel, Sampler, evaluating, find_head, linked_head, not_plain, traced_head
from genuq.pretrained.family import Family
from genuq.processes import PREDICTIONS, Predicted, Prediction
from genuq.solvers import SchedulerSolver


def known_by_name(prediction: Prediction) -> Predicted:
    """A prediction by its name, where genuq knows one of that name."""
    return prediction.name if prediction.name in PREDICTIONS else prediction


class PretrainedModel(GenerativeModel):
    """A model read off a pipeline; see `from_pipeline`.

    Attributes:
        family: how its network is called.
        scheduler: the pipeline's own.
        steps, scale: the pipeline's own defaults, the guidance scale in genuq's sense.
    """

    def __init__(
        self, family: Family, network: torch.nn.Module, scheduler: Any, steps: int, scale: float, **options: Any
    ) -> None:
        self.family, self.scheduler, self.steps, self.scale = family, scheduler, steps, scale
        self._solvers: dict[tuple[bool, float, bool], SchedulerSolver] = {}
        solver = self.solver()
        super().__init__(
            network,
            family.asked.shape,
            process=solver.process,
            prediction=family.prediction or known_by_name(solver.prediction),
            call=family,
            **options,
        )
        self.apart = family.apart

    def solver(self, directly: bool = False, eta: float = 0.0, rounds: bool = False) -> SchedulerSolver:
        """The pipeline's own scheduler as a solver, with what the pipeline tells it.

        Args:
            directly, rounds: see `SchedulerSolver`.
            eta: noise of each step, where the scheduler takes it, as the pipeline's `eta`.
        """
        if (directly, eta, rounds) not in self._solvers:  # its steps are read off it once
            takes = inspect.signature(self.scheduler.step).parameters
            options = {"eta": eta} if "eta" in takes else {}
            settings = functools.partial(self.family.settings, self.scheduler)
            rounded = rounds and self.family.rounded != "nothing"
            states = self.family.rounded == "states"
            made = SchedulerSolver(self.scheduler, settings, options, directly, rounded, states)
            self._solvers[directly, eta, rounds] = made
        return self._solvers[directly, eta, rounds]

    def half_precision(self, precision: str, drawn: Iterable[Tensor] = (), rounded: Iterable[Tensor] = ()) -> Self:
        """Refused: a pipeline is loaded in its precision.

        Raises:
            ConfigurationError: always.
        """
        raise ConfigurationError(
            f"sampler.precision = '{precision}': a pipeline of diffusers has the precision that it is loaded in. Set "
            f"model.precision={precision} (from_pretrained(..., dtype=torch.{precision})) and leave sampler.precision."
        )

    def sampler(
        self,
        steps: int | None = None,
        guidance_scale: float | None = None,
        directly: bool = False,
        eta: float = 0.0,
        rounds: bool = False,
        **options: Any,
    ) -> Sampler:
        """A sampler whose images are the pipeline's own for the same noise.

        Args:
            steps: None: the pipeline's default.
            guidance_scale: s of (1 - s) f(null) + s f(prompt), 1 for none; None: the pipeline's default.
            directly: sample by the scheduler itself, where its steps are not affine.
            eta: noise of each step, where the scheduler takes it (DDIM, TCD), as the pipeline's `eta`.
            rounds: with `directly`, states and guidance in the precision in which the pipeline keeps them, the
                network's for most; else they are float32.
            options: of `Sampler` (seed, classes, batch_size).
        """
        scale = self.scale if guidance_scale is None else guidance_scale
        return Sampler(self.solver(directly, eta, rounds), steps or self.steps, guidance_scale=scale, **options)


def find_traced_head(model: GenerativeModel, outline: bool = False) -> None:
    """Make the last weighted layer whose output arrives the model's head.

    Args:
        outline: the network is without numbers, on the meta device.

    Raises:
        ConfigurationError: no such layer, or one that makes its weight itself.
    """
    with evaluating(model):
        find = _outlined_head if outline else traced_head
        name = find(model.network, functools.partial(_one_pass, model))
    if not isinstance(model.network.get_submodule(name), torch.nn.Conv2d | torch.nn.Linear):
        raise ConfigurationError(not_plain(model.network, name))
    model.head_name = name


def _outlined_head(network: torch.nn.Module, evaluate: Callable[[], Tensor]) -> str:
    """The head of a network without numbers; where it asks for some on its way, the last layer that it registers."""
    try:
        return linked_head(network, evaluate)
    except RuntimeError:
        return find_head(network, None)


def _one_pass(model: GenerativeModel) -> Tensor:
    """A prediction at one random state, in the middle of the path."""
    source = torch.Generator().manual_seed(0)
    x = torch.randn(1, *model.latent_shape, generator=source).to(model.device)
    y = torch.zeros(1, dtype=torch.long, device=model.device) if model.num_classes else None
    return model.predicted(x, torch.full((1,), 0.5, device=model.device), y)
