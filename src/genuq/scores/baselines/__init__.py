"""Baselines from the literature, read off the sampler's own trajectory: no posterior, no encoder, no real data."""

from __future__ import annotations

from collections.abc import Callable

from genuq.scores.baselines.flow import Divergence, Likelihood, likelihood_nodes, negative_log_likelihood
from genuq.scores.baselines.trajectory import AleatoricVariance, TrajectoryVariance
from genuq.scores.baselines.watching import StepWatcher, Watched, Watcher, steps_in, watch

BASELINES: dict[str, Callable[..., Watcher]] = {
    "aleatoric": AleatoricVariance,
    "trajectory_variance": TrajectoryVariance,
    "divergence": Divergence,
    "likelihood": Likelihood,
}

__all__ = [
    "BASELINES",
    "AleatoricVariance",
    "Divergence",
    "Likelihood",
    "StepWatcher",
    "TrajectoryVariance",
    "Watched",
    "Watcher",
    "likelihood_nodes",
    "negative_log_likelihood",
    "steps_in",
    "watch",
]
