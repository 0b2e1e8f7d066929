"""Sampling from a given state at a time of the grid: where a trajectory can be cut, and how it is finished."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from genuq.errors import ConfigurationError
from genuq.models.generative import GenerativeModel
from genuq.models.sampling import Observer, Sampler, Steering, run_stages
from genuq.solvers import AffineStage

SAME_TIME = 1e-9


def grid_times(model: GenerativeModel, sampler: Sampler) -> list[float]:
    """The times of a sampler's grid, from noise to data: where a trajectory can be cut."""
    return step_times(sampler.stages(model))


def step_times(stages: Sequence[AffineStage]) -> list[float]:
    """The times between the steps of a solver, the auxiliary points of singlestep methods left out."""
    return [stages[0].t, *(stage.t_next for stage in stages if not stage.intermediate)]


def grid_time(t: float, stages: Sequence[AffineStage], tolerance: float = SAME_TIME) -> float:
    """The grid's own number for the time t.

    Raises:
        ConfigurationError: no time of the grid lies within the tolerance.
    """
    times = step_times(stages)
    nearest = min(times, key=lambda time: abs(time - t))
    if abs(nearest - t) >= tolerance:
        raise ConfigurationError(
            f"the cut t = {t:g} is no time of the grid, which goes from {times[0]:g} to {times[-1]:g} in "
            f"{len(times) - 1} steps. The nearest one is {nearest!r}; grid_times lists them."
        )
    return nearest


def stages_from(model: GenerativeModel, sampler: Sampler, t: float) -> tuple[list[AffineStage], list[AffineStage]]:
    """(stages before the cut at t, stages from there).

    The latter are the sampler's own, unless they look back beyond the cut: a multistep solver has no history there and
    starts anew, with a first-order step, on the rest of the grid.

    Raises:
        ConfigurationError: no time of the grid, or its last one, which leaves nothing to do.
    """
    stages = sampler.stages(model)
    cut = grid_time(t, stages)
    starts = [place for place, stage in enumerate(stages) if place == 0 or not stages[place - 1].intermediate]
    first = next((place for place in starts if stages[place].t == cut), None)
    if first is None:
        raise ConfigurationError(f"the cut t = {t:g} is the end of the grid: nothing is left to finish. Cut earlier.")
    passed, left = stages[:first], stages[first:]
    if any(_looks_back(stage) > place for place, stage in enumerate(left)):
        times = [time for time in step_times(stages) if time <= cut]
        left = sampler.solver.stages(model.process, model.prediction, times)
    return passed, left


def _looks_back(stage: AffineStage) -> int:
    """How many stages before its own a stage reads from."""
    return max(max((place for place, weight in enumerate(row) if weight), default=0) for row in (stage.x, stage.f))


@torch.no_grad()
def finish_latents(
    model: GenerativeModel,
    sampler: Sampler,
    indices: Sequence[int],
    state: Tensor,
    t: float,
    observers: Sequence[Observer] = (),
    steering: Steering | None = None,
) -> Tensor:
    """Final latents (B, *latent_shape) of trajectories that pass through `state` at the time t of the grid.

    From the state that the sampler itself passed through there, a solver without memory makes the same latents bit for
    bit, with the sample's own ancestral noise.

    Args:
        state: x_t (B, *latent_shape).
        observers, steering: see `sample_latents`.

    Raises:
        ConfigurationError: see `stages_from`.
        NonFiniteError: the samples diverged.
    """
    passed, left = stages_from(model, sampler, t)
    return run_stages(model, sampler, indices, state.to(model.device), left, passed, observers, steering)
