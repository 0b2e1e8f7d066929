"""The embeddings of N samples under M draws: checked, and worked through in float64 a few samples at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from genuq.errors import ConfigurationError, DataError, NonFiniteError
from genuq.parts.bounds import Positive

Variance = Positive | Tensor

# Numbers held in float64 at once: 32 MiB, whatever N is.
CHUNK_NUMBERS = 2**22


def chunks(embeddings_NMD: Tensor) -> Iterator[Tensor]:
    """Yield float64 (B, M, D) parts of the embeddings, in order.

    Raises:
        DataError: not three axes, no feature, or fewer than two draws.
        NonFiniteError: NaN or infinite embeddings; names the first sample.
    """
    _require_draws(embeddings_NMD)
    rows = max(1, CHUNK_NUMBERS // embeddings_NMD[:1].numel()) if len(embeddings_NMD) else 1
    for start in range(0, len(embeddings_NMD), rows):
        chunk_BMD = embeddings_NMD[start : start + rows].double()
        _require_finite(chunk_BMD, start)
        yield chunk_BMD


def per_sample(embeddings_NMD: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """(N,) float64: `function`, which maps (B, M, D) to (B,), of every chunk."""
    none = torch.empty(0, dtype=torch.float64, device=embeddings_NMD.device)
    return torch.cat([none, *(function(chunk_BMD) for chunk_BMD in chunks(embeddings_NMD))])


def variance_of_draws(embeddings_BMD: Tensor) -> Tensor:
    """(B, D) biased variance over the draws, from centred values: never negative, whatever the mean."""
    return embeddings_BMD.var(dim=1, correction=0)


def require_variance(observation_variance: Variance, like: Tensor) -> Tensor:
    """The observation variance as float64, a scalar or (D,).

    Raises:
        ConfigurationError: not positive and finite, or a shape other than () or (D,).
    """
    variance = torch.as_tensor(observation_variance, dtype=torch.float64, device=like.device)
    dimension = like.shape[-1]
    if tuple(variance.shape) not in ((), (dimension,)):
        raise ConfigurationError(
            f"likelihood.observation_variance must be one number or {dimension}, one for each feature, "
            f"not of shape {tuple(variance.shape)}."
        )
    if not bool((torch.isfinite(variance) & (variance > 0)).all()):
        raise ConfigurationError(
            f"likelihood.observation_variance must be positive and finite, not {float(variance.min()):g}. "
            "Leave it empty (null) for the value from the data."
        )
    return variance


def _require_draws(embeddings_NMD: Tensor) -> None:
    shape = tuple(embeddings_NMD.shape)
    if embeddings_NMD.ndim != 3 or shape[2] == 0:
        raise DataError(f"Embeddings must be (N samples, M draws, D features), not {shape}.")
    if shape[1] < 2:
        raise DataError(
            f"Uncertainty needs at least 2 draws of each sample, these embeddings have {shape[1]}. Set posterior.draws."
        )


def _require_finite(chunk_BMD: Tensor, start: int) -> None:
    bad = ~torch.isfinite(chunk_BMD).flatten(1).all(dim=1)
    if bool(bad.any()):
        first = start + int(bad.nonzero()[0])
        raise NonFiniteError(
            f"The embeddings of sample {first} hold NaN or infinite values. Look at that sample's images under the "
            "draws: a posterior scale too large makes the sampler diverge."
        )
