"""A trajectory cut at a time of the grid: what passed there, how uncertain it was, and other states to finish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from genuq.errors import ConfigurationError
from genuq.models import (
    GenerativeModel,
    Sampler,
    StageRecord,
    Steering,
    evaluating,
    finish_latents,
    finished,
    sample_latents,
    stages_from,
    step_times,
)
from genuq.posteriors import Posterior, swapped
from genuq.processes import conversion
from genuq.propagators import Propagator, propagate
from genuq.randomness import generators, normal
from genuq.solvers import AffineStage

NEAR = 0.01  # a cut that differs less from a time of the grid is that: solvers in log SNR start at 0.999, not at 1


@dataclass(frozen=True)
class Cut:
    """Some samples, cut at one time.

    Attributes:
        indices: of the samples.
        t: the cut, a time of the grid.
        images: finished, float32 (B, C, H, W) in [-1, 1], or points.
        state: x_t that the sampler passed through, (B, *latent_shape).
        later: the sampler's own states after each stage from the cut on.
        mean, variance: E[x_t] and V[x_t], float64.
        final_variance: V[x_0], float64.
        noise: the noise that the network sees in the state, eps_hat, float64.
        level: sigma_t, of the noise at the cut.
    """

    indices: Sequence[int]
    t: float
    images: Tensor
    state: Tensor
    later: list[Tensor]
    mean: Tensor
    variance: Tensor
    final_variance: Tensor
    noise: Tensor
    level: float


def cut_time(model: GenerativeModel, sampler: Sampler, t: float) -> float:
    """The time of the grid that a cut takes: the nearest one at which something is uncertain and something left to do.

    Raises:
        ConfigurationError: the start of the grid is asked for, or there is nothing else in it, where nothing is
            uncertain yet; or its end, where nothing is left to do.
    """
    times = step_times(sampler.stages(model))
    nearest = min(times, key=lambda time: abs(time - t))
    if abs(nearest - t) >= NEAR and len(times) > 2:
        nearest = min(times[1:-1], key=lambda time: abs(time - t))
    try:
        stages_from(model, sampler, nearest)
    except ConfigurationError as error:
        raise ConfigurationError(f"application.cut = {t:g}: {error}") from error
    if nearest == times[0]:
        raise ConfigurationError(
            f"application.cut = {t:g} is the start of the grid, where nothing is uncertain yet. Cut later."
        )
    return nearest


def moved_cut(model: GenerativeModel, sampler: Sampler, t: float) -> float | None:
    """The time of the grid that is taken in place of t; None: it is one, within 0.01.

    Raises:
        ConfigurationError: see `cut_time`.
    """
    taken = cut_time(model, sampler, t)
    return taken if abs(taken - t) >= NEAR else None


@torch.no_grad()
def cut_samples(
    model: GenerativeModel,
    posterior: Posterior,
    sampler: Sampler,
    indices: Sequence[int],
    t: float,
    propagator: Propagator | None = None,
    seed: int = 0,
) -> Cut:
    """The samples `indices` as one batch, with what `propagate` knows of them at the cut and at the end.

    Raises:
        ConfigurationError: a cut or a posterior that cannot work.
    """
    time = cut_time(model, sampler, t)
    passed, _ = stages_from(model, sampler, time)
    states: list[Tensor] = []
    ahead: list[Tensor] = []  # the prediction at the cut

    def keep(record: StageRecord) -> None:
        if len(states) == len(passed):
            ahead.append(record.predictions[0])
        states.append(record.result)

    with evaluating(model):
        latents = sample_latents(model, sampler, indices, observers=[keep])
        images = finished(model, latents)
    known = propagate(model, posterior, sampler, indices, propagator, seed, cuts=[time])
    mean, variance = known.at(time)
    own, later = states[len(passed) - 1], states[len(passed) :]
    eps_x, eps_f = (float(number) for number in conversion(model.prediction, model.process, time)[2:])
    noise = eps_x * own.double() + eps_f * ahead[0].double()
    return Cut(
        indices, time, images, own, later, mean, variance, known.variance, noise, float(model.process.sigma(time))
    )


def drawn_states(cut: Cut, candidate: int, seed: int = 0, spread: float = 1.0, region: Tensor | None = None) -> Tensor:
    """States from N(E[x_t], spread^2 V[x_t]) inside the region, the sampler's own outside, (B, *latent_shape).

    Source: Kou et al., BayesDiff, ICLR 2024, section 4; `spread` is ours, 1 is theirs.
    """
    noise = _noise(cut, f"augmentation {candidate}", seed).double()
    moved = (cut.mean + spread * cut.variance.sqrt() * noise).to(cut.state)
    return moved if region is None else torch.where(region.to(moved.device), moved, cut.state)


def isotropic_states(cut: Cut, like: Tensor, candidate: int, seed: int = 0, region: Tensor | None = None) -> Tensor:
    """The control: each sample's own state moved as far as `like` is from it, in the same region, in any direction."""
    noise = _noise(cut, f"isotropic {candidate}", seed)
    noise = noise if region is None else noise * region.cpu()
    length = (like - cut.state).double().flatten(1).norm(dim=1).cpu()
    scale = (length / noise.double().flatten(1).norm(dim=1)).reshape(-1, *[1] * (noise.ndim - 1))
    return cut.state + (scale * noise.double()).to(cut.state)


def renewed_states(
    cut: Cut, candidate: int, seed: int = 0, spread: float = 1.0, region: Tensor | None = None
) -> Tensor:
    """States in which noise of spread^2 V[x_t] takes the place of as much of the state's own, so that its level stays.

    For a narrow spread these are `drawn_states`; from where the spread reaches the noise level on, a pixel's noise is
    all new. A wide spread on top of the state's own noise would leave what the network was trained on.
    """
    xi = _noise(cut, f"augmentation {candidate}", seed).to(cut.mean)
    return _renewed(cut, cut.mean, xi, _kept(cut, spread, region))


def renewed_isotropic_states(
    cut: Cut, candidate: int, seed: int = 0, spread: float = 1.0, region: Tensor | None = None
) -> Tensor:
    """The control of `renewed_states`: the same region, the same share of noise renewed at every pixel of it.

    The share is the one whose moves are of equal mean square: the root u of e (1 - u)^2 + 1 - u^2 = m, with m that of
    `renewed_states` and e that of eps_hat, in the region and in units of sigma_t.
    """
    xi = _noise(cut, f"isotropic {candidate}", seed).to(cut.mean)
    kept = _kept(cut, spread, region)
    inside = torch.ones_like(kept) if region is None else region.to(kept).expand_as(kept)

    def mean(values: Tensor) -> Tensor:
        return (values * inside).flatten(1).sum(1) / inside.flatten(1).sum(1)

    e, m = mean(cut.noise.square()), mean((1 - kept).square() * cut.noise.square() + 1 - kept.square())
    u = ((e + 1 - m) / (e + (1 + (e - 1) * m).sqrt())).clamp(0, 1).reshape(-1, *[1] * (kept.ndim - 1))
    return _renewed(cut, cut.state.double(), xi, torch.where(inside > 0, u, 1.0))


def _kept(cut: Cut, spread: float, region: Tensor | None) -> Tensor:
    """Factor on the state's own noise that makes room for the new: sqrt(1 - spread^2 V / sigma^2), 1 outside."""
    kept = (1 - (spread / cut.level) ** 2 * cut.variance).clamp(0, 1).sqrt()
    return kept if region is None else torch.where(region.to(kept.device), kept, 1.0)


def _renewed(cut: Cut, centre: Tensor, xi: Tensor, kept: Tensor) -> Tensor:
    moved = centre + cut.level * ((kept - 1) * cut.noise + (1 - kept.square()).sqrt() * xi)
    return torch.where(kept < 1, moved.to(cut.state), cut.state)


def _noise(cut: Cut, stream: str, seed: int) -> Tensor:
    return normal(generators(seed, cut.indices, stream), cut.state.shape[1:])


class Held(Steering):
    """Holds a trajectory outside a region to the sampler's own states: there the finished sample is unchanged."""

    def __init__(self, cut: Cut, region: Tensor) -> None:
        self.region, self.later, self.place = region.to(cut.state.device), cut.later, 0

    def state(self, stage: AffineStage, x: Tensor) -> Tensor:
        own = self.later[self.place]
        self.place += 1
        return torch.where(self.region, x, own)


@torch.no_grad()
def finish(model: GenerativeModel, sampler: Sampler, cut: Cut, state: Tensor, region: Tensor | None = None) -> Tensor:
    """The images (B, ...) that states at the cut lead to, float32 on the CPU.

    Args:
        region: hold everything outside it to the samples' own trajectories; None lets the sampler go its way.
    """
    held = None if region is None else Held(cut, region)
    with evaluating(model):
        latents = finish_latents(model, sampler, cut.indices, state, cut.t, steering=held)
        return finished(model, latents)


def finish_under_draws(
    model: GenerativeModel,
    posterior: Posterior,
    sampler: Sampler,
    cut: Cut,
    state: Tensor,
    draws: int,
    seed: int = 0,
    region: Tensor | None = None,
) -> Tensor:
    """The same under the trained weights, then under each of M weight draws: (B, 1 + M, ...)."""
    posterior.require_weights_of(model)
    versions = [finish(model, sampler, cut, state, region)]
    for m in range(draws):
        with swapped(posterior.module, posterior.draw(m, seed)):
            versions.append(finish(model, sampler, cut, state, region))
    return torch.stack(versions, dim=1)
