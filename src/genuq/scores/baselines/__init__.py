"""Baselines from the literature, read off the sampler's own trajectory: no posterior, no encoder, no real data."""

from __future__ import annotations

from genuq.scores.baselines.flow import Divergence, LogLikelihood, likelihood_nodes, negative_log_likelihood
from genuq.scores.baselines.trajectory import AleatoricVariance, TrajectoryVariance
from genuq.scores.baselines.watching import StepWatcher, Watched, Watcher, steps_in, watch

__all__ = [
    "AleatoricVariance",
    "Divergence",
    "LogLikelihood",
    "StepWatcher",
    "TrajectoryVariance",
    "Watched",
    "Watcher",
    "likelihood_nodes",
    "negative_log_likelihood",
    "steps_in",
    "watch",
]
