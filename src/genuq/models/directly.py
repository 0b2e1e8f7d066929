"""Sampling by a scheduler itself, as a pipeline does: for steps that are not affine (clipping, thresholding)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from genuq.errors import require_finite
from genuq.models.generative import GenerativeModel
from genuq.models.precision import precision_of
from genuq.processes import between
from genuq.processes.scheduled import require_same_path
from genuq.randomness import ANCESTRAL, generators, normal
from genuq.solvers import SchedulerSolver
from genuq.solvers.probing import SuppliedNoise, initial_scale, one_step, shown_to_network


@torch.no_grad()
def sample_directly(
    model: GenerativeModel,
    solver: SchedulerSolver,
    steps: int,
    noise: Tensor,
    y: Tensor | None,
    guidance: float,
    seed: int,
    indices: Sequence[int],
) -> Tensor:
    """Final latents (B, *latent_shape) by the scheduler's own steps.

    Args:
        noise: standard normal (B, *latent_shape) on the model's device.
        y: classes (B,) there, None of a model without.
        guidance: scale of classifier-free guidance.
        seed, indices: key the noise of the steps, one of each for each sample.

    Raises:
        ConfigurationError: a model of another process, or a step that the scheduler refuses.
        NonFiniteError: the samples diverged.
    """
    require_same_path(solver.scheduler, solver.process, model.process)
    scheduler, sources = solver.prepared(steps), generators(seed, indices, ANCESTRAL)
    answers = precision_of(model.network) if solver.rounds else noise.dtype
    x = noise.to(answers if solver.rounds_states else noise.dtype) * initial_scale(scheduler)
    for time in scheduler.timesteps:
        shown = shown_to_network(scheduler, x, time).to(answers)
        prediction = _asked(model, solver, shown, float(time), y, guidance)
        with SuppliedNoise(lambda shape: normal(sources, shape[1:])):
            x = one_step(scheduler, prediction, time, x, solver.options)
    require_finite(x, "the samples", "The sampler diverged: use more steps, or check the weights.")
    return x.to(noise.dtype)


def _asked(
    model: GenerativeModel, solver: SchedulerSolver, shown: Tensor, told: float, y: Tensor | None, guidance: float
) -> Tensor:
    """The network's (guided) answer at a time of the scheduler's, as what the scheduler takes it for."""
    t = float(solver.process.time_of(told))
    t_B = torch.full((len(shown),), t, device=shown.device, dtype=shown.dtype)
    told_B = torch.full_like(t_B, solver.network_time(model.process, told), dtype=torch.float32)
    prediction = model.guided(shown, t_B, y, guidance, told_B, apart=solver.rounds and model.apart)
    if model.prediction == solver.prediction.name:
        return prediction
    on_x, on_f = (float(weight) for weight in between(model.prediction, solver.prediction, model.process, t))
    return on_x * shown + on_f * prediction
