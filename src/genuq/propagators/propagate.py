"""Samples with the mean and variance that weight uncertainty gives each of their pixels; any solver, any propagator.

Source: Kou et al., BayesDiff, ICLR 2024; the propagators say what they change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from genuq.errors import ConfigurationError, require_finite
from genuq.models import (
    SAME_TIME,
    GenerativeModel,
    Sampler,
    StageRecord,
    evaluating,
    finished,
    grid_time,
    sample_latents,
)
from genuq.models.compiled import original, require_uncompiled
from genuq.posteriors import Posterior
from genuq.propagators.network import FollowedNetwork
from genuq.propagators.propagator import Follower, Journey, Propagator, require_affine
from genuq.propagators.trajectory import Trajectory
from genuq.solvers import AffineStage

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Propagation:
    """Samples and what is known of each pixel of their latents.

    Attributes:
        images: float32 (N, C, H, W) in [-1, 1] (or points), exactly those of `sample`.
        latents: float32 (N, *latent_shape), the final states.
        mean: E[z_0], float64 (N, *latent_shape).
        variance: V[z_0], likewise, in squared units of the latents.
        evaluations: of the network for one sample, the sampler's own included; guidance doubles them.
        plain_evaluations: the sampler's own.
    """

    images: Tensor
    latents: Tensor
    mean: Tensor
    variance: Tensor
    evaluations: float
    plain_evaluations: int
    cuts: dict[float, tuple[Tensor, Tensor]] = field(repr=False)

    def at(self, t: float) -> tuple[Tensor, Tensor]:
        """(E[x_t], V[x_t]), float64 (N, *latent_shape), at a time that `propagate` was asked to keep.

        Raises:
            ConfigurationError: another time.
        """
        for time, moments in self.cuts.items():
            if abs(time - t) < SAME_TIME:
                return moments
        kept = ", ".join(f"{time:g}" for time in self.cuts) or "none"
        raise ConfigurationError(
            f"the distribution at t = {t:g} was not kept (kept: {kept}). Give propagate cuts=[{t:g}]."
        )


@torch.no_grad()
def propagate(
    model: GenerativeModel,
    posterior: Posterior,
    sampler: Sampler,
    indices: Sequence[int],
    propagator: Propagator | None = None,
    seed: int = 0,
    cuts: Sequence[float] = (),
    progress: Progress | None = None,
) -> Propagation:
    """Sample `indices`, exactly as `sample` does, and follow the uncertainty of every pixel beside them.

    Args:
        propagator: None takes `Trajectory()`.
        seed: of the propagator's own randomness.
        cuts: times of the grid (`grid_times`) at which to keep mean and variance.
        progress: called with the number of samples that each batch finished.

    Raises:
        ConfigurationError: what the sampler or the propagator cannot treat, or a cut that is no time of the grid.
        NonFiniteError: weights, samples or variances that are not finite.
    """
    propagator, model = propagator or Trajectory(), original(model)
    require_uncompiled(model)
    sampler.check(model)
    model.check_weights()
    stages = sampler.stages(model)
    require_affine(propagator.name, sampler)
    propagator.check(model, posterior, stages)
    times = [grid_time(t, stages) for t in cuts]
    if not len(indices):
        raise ConfigurationError("No samples are asked for: the list of their indices is empty.")
    parts: list[_Part] = []
    arrangement = None
    with evaluating(model):
        for start in range(0, len(indices), sampler.batch_size):
            chosen = indices[start : start + sampler.batch_size]
            y = sampler.classes_of(model, chosen)
            network = FollowedNetwork(
                model, posterior, sampler.guidance_scale, None if y is None else y.to(model.device)
            )
            network.arrangement = arrangement
            parts.append(_follow(network, sampler, propagator, stages, chosen, seed, times))
            arrangement = network.arrangement
            if progress:
                progress(len(chosen))
    return _joined(parts, sampler.evaluations(model), times)


@dataclass(frozen=True)
class _Part:
    """One batch's share of a Propagation."""

    images: Tensor
    latents: Tensor
    moments: tuple[Tensor, Tensor]
    further_evaluations: float
    cuts: dict[float, tuple[Tensor, Tensor]]


def _follow(
    network: FollowedNetwork,
    sampler: Sampler,
    propagator: Propagator,
    stages: Sequence[AffineStage],
    indices: Sequence[int],
    seed: int,
    times: Sequence[float],
) -> _Part:
    model = network.model
    noise = sampler.initial_noise(model, indices)
    start = stages[0].initial_state(model.process, noise.to(model.device))
    ends = [number for number, stage in enumerate(stages) if stage.t_next in times and not stage.intermediate]
    follower = propagator.follow(Journey(network, start, stages, indices, seed, ends))
    kept = {t: _moments(follower) for t in times if t == stages[0].t}

    def observe(record: StageRecord) -> None:
        with network.at(record):
            follower(record)
            if record.stage.t_next in times and not record.stage.intermediate:
                kept[record.stage.t_next] = _moments(follower)

    with network.watched():
        latents = sample_latents(model, sampler, indices, noise, [observe])
    moments = _moments(follower)
    return _Part(finished(model, latents), latents.float().cpu(), moments, network.evaluations, kept)


def _moments(follower: Follower) -> tuple[Tensor, Tensor]:
    mean, variance = follower.mean, follower.variance
    require_finite(variance, "the propagated variance", "Use more steps, a smaller skip, or propagator=trajectory.")
    return mean.cpu(), variance.cpu()


def _joined(parts: Sequence[_Part], plain: int, times: Sequence[float]) -> Propagation:
    images, latents = torch.cat([part.images for part in parts]), torch.cat([part.latents for part in parts])
    mean, variance = (torch.cat([part.moments[which] for part in parts]) for which in (0, 1))
    further = sum(part.further_evaluations * len(part.latents) for part in parts) / len(latents)
    cuts = {t: tuple(torch.cat([part.cuts[t][which] for part in parts]) for which in (0, 1)) for t in times}
    return Propagation(images, latents, mean, variance, plain + further, plain, cuts)  # type: ignore[arg-type]
