"""Likelihoods: the space in which regenerations of a sample are compared, and the Gaussian entropy in it."""

from genuq.likelihoods.gaussian import default_observation_variance, gaussian_entropy
from genuq.likelihoods.likelihood import Likelihood, ObservationVariance, PixelLikelihood, SemanticLikelihood

__all__ = [
    "Likelihood",
    "ObservationVariance",
    "PixelLikelihood",
    "SemanticLikelihood",
    "default_observation_variance",
    "gaussian_entropy",
]
