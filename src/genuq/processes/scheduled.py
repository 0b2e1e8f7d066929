"""A process read off a scheduler as diffusers has them, and the scheduler on a grid of steps.

Nothing of a scheduler is written down here: alpha and sigma are what its `add_noise` or `scale_noise` does with unit
vectors. Its networks are told of the time in units of their own, which the process knows.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from genuq.errors import ConfigurationError
from genuq.processes.base import Process, Time, float64
from genuq.processes.exploding import Exploding
from genuq.processes.process import FlowMatching
from genuq.processes.tabulated import Tabulated

Settings = Callable[[int], Mapping[str, Any]]
"""What `set_timesteps` is given beside the number of steps (`mu`, `sigmas`, ...), as the pipeline computes it."""

_SAME = 1e-3  # of alpha: paths that differ by less are one
_PROBED = 10  # steps of the grid on which a path is looked at
_GIVE_ONE = "Give GenerativeModel a Process of your own for it."


class ScheduledDiffusion(Tabulated):
    """The variance-preserving path of a diffusion scheduler; its networks are told n = train_timesteps t - 1.

    Args:
        alphas_cumprod: the scheduler's table of alpha^2, decreasing.
        first: what networks are told of its first entry, 0 or 1.
    """

    name = "variance_preserving"

    def __init__(self, alphas_cumprod: Tensor, first: int = 0) -> None:
        self.first = first
        variance = alphas_cumprod.double().cpu()
        at_zero = bool(variance[-1] == 0)
        super().__init__(variance.sqrt() - 1 if at_zero else 0.5 * variance.log(), at_zero)

    def network_time(self, t: Tensor) -> Tensor:
        """n, float32; for times nearer to the data than the first entry of the table, that of the first."""
        return (t.double() * self.train_timesteps - 1).clamp(min=0).add(self.first).float()

    def time_of(self, network_time: Time) -> Tensor:
        """The time t of what the network is told."""
        return (float64(network_time) + 1 - self.first) / self.train_timesteps


class ScheduledFlow(FlowMatching):
    """The straight path of a flow-matching scheduler; its networks are told train_timesteps t.

    Args:
        train_timesteps: 1000 for the published ones.
    """

    zero_terminal_snr = False  # alpha(1) = 0 is what the path is made for: no one predicts epsilon on it

    def __init__(self, train_timesteps: int) -> None:
        self.train_timesteps = train_timesteps

    def network_time(self, t: Tensor) -> Tensor:
        return (t.double() * self.train_timesteps).float()

    def time_of(self, network_time: Time) -> Tensor:
        """The time t of what the network is told."""
        return float64(network_time) / self.train_timesteps


Scheduled = ScheduledDiffusion | ScheduledFlow | Exploding


def is_scheduler(candidate: object) -> bool:
    """Whether this steps and sets its times as diffusers' schedulers do."""
    return all(callable(getattr(candidate, name, None)) for name in ("set_timesteps", "step"))


def prepared(scheduler: Any, steps: int, settings: Settings | None = None) -> Any:
    """A copy of the scheduler on its grid of so many steps.

    Raises:
        ConfigurationError: the scheduler refuses, or its grid leaves its table.
    """
    made, given = copy.deepcopy(scheduler), dict(settings(steps)) if settings else {}
    count = {} if {"sigmas", "timesteps"} & given.keys() else {"num_inference_steps": steps}  # as pipelines call it
    try:
        made.set_timesteps(**count, **given)
    except (ValueError, TypeError, IndexError, AttributeError, RuntimeError) as error:
        raise ConfigurationError(
            f"{type(scheduler).__name__} takes no grid of sampler.steps = {steps}: {error} "
            "Change the steps or what it is set to (model.scheduler.KEY, `scheduler.config`), or give what it asks for "
            "by `settings`."
        ) from error
    _require_in_table(made, steps)
    return made


def _require_in_table(made: Any, steps: int) -> None:
    """Refuse a grid with a timestep before the first: as a place of a table it is the last one, which is all noise.

    DDIMScheduler of diffusers 0.42.1 makes one for 62 of the step counts to 1,000 with timestep_spacing = "trailing",
    where rounding adds a step.
    """
    least = float(min(made.timesteps)) if hasattr(made, "alphas_cumprod") and len(made.timesteps) else 0.0
    if least < 0:
        raise ConfigurationError(
            f"{type(made).__name__} makes {len(made.timesteps)} timesteps of sampler.steps = {steps}, the last of them "
            f"{least:g}, where its table would be read from the wrong end. Take one step more or less, or another "
            "spacing (model.scheduler.timestep_spacing=leading)."
        )


def noised(scheduler: Any, places: Iterable[int]) -> list[tuple[float, float]]:
    """(coefficient of x_0, of the noise), before scaling, of the states at places of a prepared scheduler's grid.

    Raises:
        ConfigurationError: the scheduler noises nothing.
    """
    asked = copy.deepcopy(scheduler)
    x0, noise = torch.eye(2, dtype=torch.float64).reshape(2, 1, 1, 1, 2).unbind(0)
    found = []
    for place in places:
        if hasattr(asked, "set_begin_index"):  # by place: rounded times may occur twice
            asked.set_begin_index(place)
        on_x0, on_noise = _mixed(asked, x0, noise, asked.timesteps[place : place + 1]).flatten().tolist()
        found.append((on_x0, on_noise))
    return found


def _mixed(scheduler: Any, x0: Tensor, noise: Tensor, time: Tensor) -> Tensor:
    name = type(scheduler).__name__
    try:
        if hasattr(scheduler, "scale_noise"):
            return scheduler.scale_noise(x0, time, noise)
        if hasattr(scheduler, "add_noise"):
            return scheduler.add_noise(x0, noise, time)
    except (NotImplementedError, ValueError, TypeError, IndexError, AttributeError) as error:
        reason = str(error) or "not implemented"
        raise ConfigurationError(f"{name} noises nothing at its time {float(time):g}: {reason}. {_GIVE_ONE}") from error
    raise ConfigurationError(f"{name} has neither add_noise nor scale_noise. {_GIVE_ONE}")


def process_of(scheduler: Any, settings: Settings | None = None) -> Scheduled:
    """The process that the networks of a scheduler were trained on.

    Args:
        scheduler: of diffusers', or one like it.
        settings: see `Settings`.

    Raises:
        ConfigurationError: a path that is neither variance preserving nor that of flow matching or of EDM.
    """
    if not is_scheduler(scheduler):
        raise ConfigurationError(f"{type(scheduler).__name__} has no set_timesteps and step, or only one. {_GIVE_ONE}")
    grid = prepared(scheduler, _PROBED, settings)
    places = range(0, len(grid.timesteps), int(getattr(grid, "order", 1)))  # the states between two are auxiliary
    mixed = noised(grid, places)
    if all(abs(alpha + sigma - 1) < _SAME for alpha, sigma in mixed):
        return ScheduledFlow(int(grid.config.num_train_timesteps))
    if preconditions(scheduler):
        return _exploding(grid, mixed)
    table = getattr(scheduler, "alphas_cumprod", None)
    if table is None or not bool((table.diff() < 0).all()):
        raise ConfigurationError(
            f"{type(scheduler).__name__} has neither the straight path of flow matching nor a decreasing table of "
            f"alpha. {_GIVE_ONE}"
        )
    found = ScheduledDiffusion(table)
    for place, (alpha, sigma) in zip(places, mixed):
        _require_same(scheduler, found, float(grid.timesteps[place]), alpha / (alpha**2 + sigma**2) ** 0.5)
    return found


def preconditions(scheduler: Any) -> bool:
    """Whether the scheduler makes D of the network's F itself, as those of EDM do; the path says what F is shown."""
    return callable(getattr(scheduler, "precondition_outputs", None))


def _exploding(grid: Any, mixed: list[tuple[float, float]]) -> Exploding:
    """The path of a prepared scheduler of EDM.

    Raises:
        ConfigurationError: it tells its network something else than ln(sigma) / 4.
    """
    config = grid.config
    found = Exploding(float(config.sigma_min), float(config.sigma_max), float(config.sigma_data))
    told = torch.tensor([math.log(sigma) / 4 for _, sigma in mixed])
    if not torch.allclose(grid.timesteps.cpu().float(), told, atol=1e-4):
        raise ConfigurationError(
            f"{type(grid).__name__} tells its network {float(grid.timesteps[0]):.4g} of the noise {mixed[0][1]:.4g}, "
            f"and EDM's {float(told[0]):.4g}. {_GIVE_ONE}"
        )
    return found


def _require_same(scheduler: Any, found: ScheduledDiffusion, time: float, alpha: float) -> None:
    """That `add_noise` mixes as the table says, up to the rounding of the time that the network is told."""
    around = found.alpha(found.time_of(torch.tensor([time - 1, time + 1])))
    if not float(around[1]) - _SAME <= alpha <= float(around[0]) + _SAME:
        raise ConfigurationError(
            f"{type(scheduler).__name__} noises to alpha = {alpha:.4g} at its time {time:g}, but its table says "
            f"{float(found.alpha(found.time_of(time))):.4g}. {_GIVE_ONE}"
        )


def require_same_path(scheduler: Any, own: Scheduled, process: Process) -> None:
    """That the model's process is the one that the scheduler walks.

    Raises:
        ConfigurationError: it is another (betas of another model, flow matching in place of diffusion).
    """
    t = torch.linspace(0.02, 1, 50, dtype=torch.float64)
    apart = (own.alpha(t) - process.alpha(t)).abs() + (own.sigma(t) - process.sigma(t)).abs()
    if float(apart.max()) > 2 * _SAME:
        worst = float(t[apart.argmax()])
        raise ConfigurationError(
            f"{type(scheduler).__name__} walks another path than the model was trained on: at t = {worst:.2f} its "
            f"alpha is {float(own.alpha(worst)):.4f}, that of model.process {float(process.alpha(worst)):.4f}. Set "
            "model.process to the one that the scheduler has (genuq.processes.process_of), or take the model's own "
            "scheduler."
        )
