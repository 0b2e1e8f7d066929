"""The entropy of generative uncertainty with the arithmetic of the released code, so that a reader can see its faults.

Written from a description; no line of the released code was used. Source: Jazbec et al., UAI 2025, arXiv 2502.20946.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from genuq.likelihoods.draws import Variance, per_sample, require_variance
from genuq.parts.bounds import OneOf, check_options
from genuq.scores.registry import SCORES

HALF, UNCENTRED = ENTROPY_FAULTS = ("half_precision", "uncentred_variance")
LAST = float(torch.finfo(torch.float16).max)  # of a sample whose entropy is no number: sorting puts NaN last


@SCORES.add(
    name="entropy_as_released",
    label="Generative uncertainty, as released",
    description="The entropy in half precision, from a variance that is not centred: faults kept on purpose.",
    keys={"faults": "entropy_faults"},
)
def entropy_as_released(
    embeddings_NMD: Tensor,
    observation_variance: Variance,
    faults: Sequence[Annotated[str, OneOf(*ENTROPY_FAULTS)]] = ENTROPY_FAULTS,
) -> Tensor:
    """Entropy in nats of the diagonal Gaussian as `entropy` has it, (N,) float64, with faults that can be kept alone.

    Args:
        embeddings_NMD: features of each sample's M regenerations.
        observation_variance: s2, one number or one for each feature.
        faults: `half_precision`: embeddings and every result of an operation are rounded to float16, the entropy too,
            so that samples tie; `uncentred_variance`: var = E[e^2] - E[e]^2, which in half precision is negative where
            the mean is large. A sample with var + s2 <= 0 somewhere has no entropy and comes last of all. Without any
            it is `entropy`.

    Raises:
        ConfigurationError: an unknown fault; see `entropy` for the rest.
    """
    check_options(entropy_as_released, faults=list(faults))
    variance = require_variance(observation_variance, embeddings_NMD)
    rounded = _to_half if HALF in faults else _as_it_is
    noise, constant = rounded(variance), rounded(_constant(embeddings_NMD.shape[-1]))

    def of(chunk_BMD: Tensor) -> Tensor:
        total_BD = rounded(_variance(rounded(chunk_BMD), UNCENTRED in faults, HALF in faults) + noise)
        logarithms_B = rounded(rounded(total_BD.log()).sum(1))
        return rounded(rounded(logarithms_B / 2) + constant).nan_to_num(LAST, LAST, LAST)

    return per_sample(embeddings_NMD, of)


def variance_as_released(
    embeddings_NMD: Tensor, faults: Sequence[Annotated[str, OneOf(*ENTROPY_FAULTS)]] = ENTROPY_FAULTS
) -> Tensor:
    """(N, D) float64 variance over the draws with the faults of `entropy_as_released`; it may be negative."""
    rounded = _to_half if HALF in faults else _as_it_is
    return _variance(rounded(embeddings_NMD.double()), UNCENTRED in faults, HALF in faults)


def _variance(values_BMD: Tensor, uncentred: bool, half: bool) -> Tensor:
    rounded = _to_half if half else _as_it_is
    mean_BD = rounded(values_BMD.mean(1))
    if uncentred:
        return rounded(rounded(rounded(values_BMD.square()).mean(1)) - rounded(mean_BD.square()))
    deviations_BMD = rounded(values_BMD - mean_BD[:, None])
    return rounded(rounded(deviations_BMD.square()).mean(1))


def _to_half(values: Tensor) -> Tensor:
    """Rounded to the nearest number of half precision, as float64."""
    return values.half().double()


def _as_it_is(values: Tensor) -> Tensor:
    return values


def _constant(dimension: int) -> Tensor:
    return torch.tensor(dimension / 2 * (1 + math.log(2 * math.pi)), dtype=torch.float64)
