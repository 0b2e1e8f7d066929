"""Posteriors over weights: fitted by streaming additive sums, finalised at an explicit scale, then drawn from."""

from genuq.posteriors.base import CurvaturePosterior, Posterior, Scale
from genuq.posteriors.control import IsotropicNoise
from genuq.posteriors.curvature.layers import LayersPosterior
from genuq.posteriors.dataless import MAP
from genuq.posteriors.diagonal import DiagonalLaplace
from genuq.posteriors.dominance import PriorDominance, prior_dominance
from genuq.posteriors.dropout import MCDropout
from genuq.posteriors.exact import ExactLastLayerLaplace
from genuq.posteriors.fitting.fitting import FitResult, FitSettings, build, fit, fit_by, isotropic_like, load
from genuq.posteriors.fitting.reading import DoubtfulFitWarning, Reading
from genuq.posteriors.fitting.scale import ChosenScale, ScaleOptions
from genuq.posteriors.ivon import Ivon
from genuq.posteriors.kfac import KFACLaplace
from genuq.posteriors.last_layer import LastLayerPosterior
from genuq.posteriors.many import ManyDraws
from genuq.posteriors.members import DeepEnsemble, MembersPosterior, PosthocEnsemble
from genuq.posteriors.network_noise import NetworkNoise
from genuq.posteriors.register import POSTERIORS, PosteriorPart
from genuq.posteriors.rounding import DrawnWeights, drawn_in
from genuq.posteriors.subnetwork import SubnetworkLaplace
from genuq.posteriors.swag import Swag
from genuq.posteriors.swap import swapped

__all__ = [
    "MAP",
    "POSTERIORS",
    "ChosenScale",
    "CurvaturePosterior",
    "DeepEnsemble",
    "DiagonalLaplace",
    "DoubtfulFitWarning",
    "DrawnWeights",
    "ExactLastLayerLaplace",
    "FitResult",
    "FitSettings",
    "IsotropicNoise",
    "Ivon",
    "KFACLaplace",
    "LastLayerPosterior",
    "LayersPosterior",
    "MCDropout",
    "ManyDraws",
    "MembersPosterior",
    "NetworkNoise",
    "Posterior",
    "PosteriorPart",
    "PosthocEnsemble",
    "PriorDominance",
    "Reading",
    "Scale",
    "ScaleOptions",
    "SubnetworkLaplace",
    "Swag",
    "build",
    "drawn_in",
    "fit",
    "fit_by",
    "isotropic_like",
    "load",
    "prior_dominance",
    "swapped",
]
