"""Scores: one number for each sample, higher is more uncertain; baselines; and the controls of every table."""

from genuq.scores.baselines import Watched, Watcher, watch
from genuq.scores.controls import (
    complexity,
    direct_noise,
    high_frequency_energy,
    jitter_initial_noise,
    png_bytes,
    random_score,
)
from genuq.scores.functionals import (
    cosine,
    entropy,
    full_covariance_entropy,
    functional,
    paide,
    paide_variance,
    trace,
)
from genuq.scores.generative import GenerativeUncertainty, generative_uncertainty, regenerate
from genuq.scores.registry import SCORES, SOURCES, ScorePart

__all__ = [
    "SCORES",
    "SOURCES",
    "GenerativeUncertainty",
    "ScorePart",
    "Watched",
    "Watcher",
    "complexity",
    "cosine",
    "direct_noise",
    "entropy",
    "full_covariance_entropy",
    "functional",
    "generative_uncertainty",
    "high_frequency_energy",
    "jitter_initial_noise",
    "paide",
    "paide_variance",
    "png_bytes",
    "random_score",
    "regenerate",
    "trace",
    "watch",
]
