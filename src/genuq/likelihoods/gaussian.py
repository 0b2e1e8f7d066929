"""The Gaussian predictive of a sample's embedding: its entropy is the generative uncertainty."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genuq.errors import DataError
from genuq.likelihoods.draws import Variance, chunks, per_sample, require_variance, variance_of_draws

# A feature counts as live above this share of the largest feature's variance; below it is rounding or a dead unit.
LIVE_SHARE = 1e-8


def gaussian_entropy(embeddings_NMD: Tensor, observation_variance: Variance) -> Tensor:
    """Entropy of the moment-matched diagonal Gaussian, in nats: u = 1/2 sum_d log(var_d + s2) + D/2 (1 + log 2 pi).

    The predictive is the mixture of N(e_m, s2) over the draws m; its diagonal moments are the mean of e and
    var(e) + s2. Higher is more uncertain. Invariant under translation and under permutations of draws or features.

    Args:
        embeddings_NMD: features of each sample's M regenerations (any float type; computed in float64).
        observation_variance: s2 in squared units of the features, one number or one for each feature.
    Returns:
        (N,) float64.
    Raises:
        DataError: fewer than two draws.
        NonFiniteError: NaN or infinite embeddings.
        ConfigurationError: s2 that is not positive.
    Source: DIFF-UQ (Jazbec et al., UAI 2025, arXiv 2502.20946), with the biased variance of its published runs.
    """
    variance = require_variance(observation_variance, embeddings_NMD)
    constant = embeddings_NMD.shape[-1] / 2 * (1 + math.log(2 * math.pi))
    return per_sample(
        embeddings_NMD, lambda chunk_BMD: (variance_of_draws(chunk_BMD) + variance).log().sum(1) / 2 + constant
    )


def default_observation_variance(embeddings_NMD: Tensor) -> float:
    """The median over live features of the variance over draws, averaged over samples.

    Why this rule. With s2 far above var_d, log(var_d + s2) is linear in var_d and the score is the trace, decided by
    the few features of largest variance; with s2 far below, a feature counts by the logarithm of a variance estimated
    from a handful of draws, and those that hardly move contribute noise without bound. At s2 equal to a typical var_d
    half the features lie on either side: what moves is compressed, what does not is damped. Dead features (ReLU units
    that are zero on every image) are left out, or they would drive the median to zero. Multiplying the features by c
    multiplies s2 by c^2, so the ranking does not depend on their unit.

    Args:
        embeddings_NMD: the embeddings that are to be scored.
    Raises:
        DataError: no feature varies between the draws.
    """
    if len(embeddings_NMD) == 0:
        raise DataError("There is no sample to take the observation variance from.")
    pooled_D = pooled_variance(embeddings_NMD)
    live = pooled_D > LIVE_SHARE * pooled_D.max()
    if not bool(live.any()):
        raise DataError(
            "Every sample has the same embedding under all draws, so there is no uncertainty to score. "
            "The weight draws are too close to the trained weights: raise posterior.temperature."
        )
    return float(pooled_D[live].median())


def pooled_variance(embeddings_NMD: Tensor) -> Tensor:
    """(D,) float64: each feature's biased variance over the draws, averaged over the samples."""
    totals = [variance_of_draws(chunk_BMD).sum(0) for chunk_BMD in chunks(embeddings_NMD)]
    return torch.stack(totals).sum(0) / len(embeddings_NMD)
