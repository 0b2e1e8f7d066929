"""Functionals of the draws: one number for the spread of a sample's embeddings, higher is more uncertain.

All take embeddings_NMD (N samples, M weight draws, D features; any float type), compute in float64, a chunk of samples
at a time, and return (N,) float64. Where the unperturbed sample is among the draws it is draw 0.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from genuq.errors import ConfigurationError, DataError, did_you_mean
from genuq.likelihoods import gaussian_entropy
from genuq.likelihoods.draws import Variance, per_sample, require_variance, variance_of_draws
from genuq.scores.registry import SCORES

Divergence = Literal["kl", "bhattacharyya"]

# D(N(a, s2) || N(b, s2)) = share * |a - b|^2 / s2.
DIVERGENCES: dict[str, float] = {"kl": 1 / 2, "bhattacharyya": 1 / 8}


class Functional(Protocol):
    def __call__(self, embeddings_NMD: Tensor, observation_variance: Variance) -> Tensor: ...


@SCORES.add(label="Generative uncertainty")
def entropy(embeddings_NMD: Tensor, observation_variance: Variance) -> Tensor:
    """Generative uncertainty: entropy in nats of the diagonal Gaussian; see `genuq.likelihoods.gaussian_entropy`."""
    return gaussian_entropy(embeddings_NMD, observation_variance)


@SCORES.add(label="Full-covariance entropy")
def full_covariance_entropy(embeddings_NMD: Tensor, observation_variance: Variance) -> Tensor:
    """Entropy in nats of N(mean, S + s2 I) with the full covariance S over draws: correlated features count once.

    S has rank below M, so with Z the centred embeddings divided by s, Sylvester's identity gives exactly
    log det(S + s2 I) = sum_d log s2_d + log det(I + Z Z' / M): an M x M matrix instead of a D x D one.
    """
    variance = require_variance(observation_variance, embeddings_NMD)
    noise = _noise_entropy(variance, embeddings_NMD.shape[-1])

    def excess(chunk_BMD: Tensor) -> Tensor:
        scaled_BMD = (chunk_BMD - chunk_BMD.mean(1, keepdim=True)) / variance.sqrt()
        gram_BMM = scaled_BMD @ scaled_BMD.mT / chunk_BMD.shape[1]
        identity_MM = torch.eye(chunk_BMD.shape[1], dtype=torch.float64, device=chunk_BMD.device)
        factor_BMM = torch.linalg.cholesky(gram_BMM + identity_MM)
        return factor_BMM.diagonal(dim1=1, dim2=2).log().sum(1)

    return per_sample(embeddings_NMD, excess) + noise


def trace(embeddings_NMD: Tensor) -> Tensor:
    """Total variance over the draws, in squared units of the features; what the entropy tends to for large s2."""
    return per_sample(embeddings_NMD, lambda chunk_BMD: variance_of_draws(chunk_BMD).sum(1))


def cosine(embeddings_NMD: Tensor) -> Tensor:
    """1 - mean cosine between draw 0, the unperturbed sample, and the other draws: in [0, 2].

    Computed as half the squared distance of the unit vectors, which keeps its precision where the cosine is near 1.
    """

    def distance(chunk_BMD: Tensor) -> Tensor:
        unit_BMD = F.normalize(chunk_BMD, dim=-1, eps=1e-300)
        return (unit_BMD[:, 1:] - unit_BMD[:, :1]).square().sum(-1).mean(1) / 2

    return per_sample(embeddings_NMD, distance)


def paide(embeddings_NMD: Tensor, component_variance: Variance | None = None, divergence: Divergence = "kl") -> Tensor:
    """Pairwise-distance estimate of the entropy in nats of the mixture of N(e_m, s2) over the draws.

    H = 1/2 sum_d log(2 pi e s2_d) - 1/M sum_i log( 1/M sum_j exp(-D(p_i || p_j)) )

    Unlike the moment-matched Gaussian it sees several modes. With the Kullback-Leibler divergence it bounds the
    mixture's entropy from above, with the Bhattacharyya distance from below. The second term, the epistemic part, ends
    at log M: with many features and s2 of one feature's size every pair is far apart and all samples tie there.

    Args:
        component_variance: s2, one number or (D,). None takes `paide_variance`, which keeps clear of both ends.
        divergence: D, "kl" or "bhattacharyya".
    Source: Kolchinsky and Tracey, Estimating Mixture Entropy with Pairwise Distances, Entropy 19 (2017) 361; as an
    epistemic uncertainty: Berry and Meger, arXiv 2308.13498.
    """
    if divergence not in DIVERGENCES:
        raise ConfigurationError(f"divergence = '{divergence}' is unknown.{did_you_mean(divergence, DIVERGENCES)}")
    if component_variance is None:
        component_variance = paide_variance(embeddings_NMD)
    variance = require_variance(component_variance, embeddings_NMD)
    noise = _noise_entropy(variance, embeddings_NMD.shape[-1])

    def epistemic(chunk_BMD: Tensor) -> Tensor:
        scaled_BMD = chunk_BMD / variance.sqrt()
        distance_BMM = torch.cdist(scaled_BMD, scaled_BMD, compute_mode="donot_use_mm_for_euclid_dist")
        overlap_BM = torch.logsumexp(-DIVERGENCES[divergence] * distance_BMM.square(), dim=2)
        return math.log(chunk_BMD.shape[1]) - overlap_BM.mean(1)

    return per_sample(embeddings_NMD, epistemic) + noise


def paide_variance(embeddings_NMD: Tensor) -> float:
    """The component variance at which the median sample's mean pairwise KL divergence is 1.

    The mean of |e_i - e_j|^2 over pairs is 2 M / (M - 1) times the trace, so it is M / (M - 1) times the median trace.

    Raises:
        DataError: most samples do not vary between the draws.
    """
    draws = embeddings_NMD.shape[1]
    variance = float(trace(embeddings_NMD).median()) * draws / (draws - 1)
    if not variance > 0:
        raise DataError("Most samples have the same embedding under all draws: raise posterior.temperature.")
    return variance


def _noise_entropy(variance: Tensor, dimension: int) -> Tensor:
    """Entropy in nats of N(0, variance) in `dimension` features."""
    return (2 * math.pi * math.e * variance).log().expand(dimension).sum() / 2


# Those that know no observation noise ignore it, so that all have one signature. PaiDE takes its own unless told
# otherwise: the observation variance of one feature would saturate it.


@SCORES.add(name="trace", label="Total variance", description="Total variance over the draws.")
def _trace(embeddings_NMD: Tensor, observation_variance: Variance) -> Tensor:
    return trace(embeddings_NMD)


@SCORES.add(
    name="cosine", label="Cosine distance", description="1 - mean cosine between the unperturbed sample and its draws."
)
def _cosine(embeddings_NMD: Tensor, observation_variance: Variance) -> Tensor:
    return cosine(embeddings_NMD)


@SCORES.add(
    name="paide",
    label="Pairwise-distance entropy",
    description="Pairwise-distance estimate of the entropy of the mixture over the draws.",
    internal=frozenset({"component_variance", "divergence"}),
)
def _paide(
    embeddings_NMD: Tensor,
    observation_variance: Variance,
    component_variance: Variance | None = None,
    divergence: Divergence = "kl",
) -> Tensor:
    """`paide`, the observation variance left aside.

    Args:
        component_variance: s2 of each component, one number; None takes one at which draws are told apart.
        divergence: between two components, `kl` or `bhattacharyya`.
    """
    return paide(embeddings_NMD, component_variance, divergence)


def functional(name: str, **options: Any) -> Functional:
    """The functional called `name`, as a function of (embeddings_NMD, observation_variance).

    Args:
        options: of paide: component_variance, divergence.
    Raises:
        ConfigurationError: an unknown name or option, with the nearest known one.
    """
    part = SCORES.get(name, "score.name")
    if part.source != "draws":
        known = SCORES.names(source="draws")
        raise ConfigurationError(f"score.name: '{name}' is no functional of draws.{did_you_mean(name, known)}")
    part.check_options(options)
    return partial(part.make, **options)
