"""Posteriors over weights: fitted by streaming additive sums, finalised at an explicit scale, then drawn from."""

from genuq.posteriors.base import CurvaturePosterior, Posterior, Scale
from genuq.posteriors.control import IsotropicNoise
from genuq.posteriors.diagonal import DiagonalLaplace
from genuq.posteriors.exact import ExactLastLayerLaplace
from genuq.posteriors.fitting import KINDS, FitResult, FitSettings, build, fit, fit_by, isotropic_like, load
from genuq.posteriors.last_layer import LastLayerPosterior
from genuq.posteriors.members import DeepEnsemble, MembersPosterior, PosthocEnsemble
from genuq.posteriors.scale import ChosenScale, ScaleOptions
from genuq.posteriors.swag import Swag
from genuq.posteriors.swap import swapped

__all__ = [
    "KINDS",
    "ChosenScale",
    "CurvaturePosterior",
    "DeepEnsemble",
    "DiagonalLaplace",
    "ExactLastLayerLaplace",
    "FitResult",
    "FitSettings",
    "IsotropicNoise",
    "LastLayerPosterior",
    "MembersPosterior",
    "Posterior",
    "PosthocEnsemble",
    "Scale",
    "ScaleOptions",
    "Swag",
    "build",
    "fit",
    "fit_by",
    "isotropic_like",
    "load",
    "swapped",
]
