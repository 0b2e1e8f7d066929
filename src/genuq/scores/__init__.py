"""Scores: one number for each sample, higher is more uncertain; baselines; and the controls of every table."""

from genuq.scores.baselines import Watched, Watcher, watch
from genuq.scores.controls import (
    class_prior,
    complexity,
    direct_noise,
    high_frequency_energy,
    jitter_initial_noise,
    lmi,
    png_bytes,
    random_score,
)
from genuq.scores.finished_images import ImageScores, score_images
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
from genuq.scores.path_scores import (
    guidance_gap,
    guidance_gap_low,
    path_disagreement,
    path_disagreement_semantic,
    weak_model_gap,
)
from genuq.scores.probe_scores import (
    class_margin,
    lid,
    null_gap,
    renoised_disagreement,
    renoised_disagreement_semantic,
    renoised_epistemic,
    renoised_epistemic_semantic,
    renoised_epistemic_share,
    renoised_isotropic,
    score_norm,
    self_confidence,
)
from genuq.scores.registry import SCORES, SOURCES, ScorePart
from genuq.scores.released import entropy_as_released
from genuq.scores.shared import Probe, Resources, SamplerPath, score_together

__all__ = [
    "SCORES",
    "SOURCES",
    "GenerativeUncertainty",
    "ImageScores",
    "Probe",
    "Resources",
    "SamplerPath",
    "ScorePart",
    "Watched",
    "Watcher",
    "class_margin",
    "class_prior",
    "complexity",
    "cosine",
    "direct_noise",
    "entropy",
    "entropy_as_released",
    "full_covariance_entropy",
    "functional",
    "generative_uncertainty",
    "guidance_gap",
    "guidance_gap_low",
    "high_frequency_energy",
    "jitter_initial_noise",
    "lid",
    "lmi",
    "null_gap",
    "paide",
    "paide_variance",
    "path_disagreement",
    "path_disagreement_semantic",
    "png_bytes",
    "random_score",
    "regenerate",
    "renoised_disagreement",
    "renoised_disagreement_semantic",
    "renoised_epistemic",
    "renoised_epistemic_semantic",
    "renoised_epistemic_share",
    "renoised_isotropic",
    "score_images",
    "score_norm",
    "score_together",
    "self_confidence",
    "trace",
    "watch",
    "weak_model_gap",
]
