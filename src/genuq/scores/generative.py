"""Generative uncertainty in one call: samples, their regenerations under weight draws, and a score for each.

Source: Jazbec et al., Generative Uncertainty in Diffusion Models, UAI 2025, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from genuq.likelihoods import Likelihood
from genuq.models import GenerativeModel, Sampler, sample, to_bytes, to_unit
from genuq.posteriors import Posterior, swapped
from genuq.scores.functionals import functional

Progress = Callable[[int], None]


@dataclass(frozen=True)
class GenerativeUncertainty:
    """Samples with their regenerations and scores.

    Attributes:
        images: uint8 (N, C, H, W).
        draws: the same samples under M weight draws, uint8 (N, M, C, H, W).
        embeddings: (N, 1 + M, D), the unperturbed sample first.
        score: (N,) float64, higher is more uncertain.
        observation_variance: of the likelihood, as used.
    """

    images: Tensor
    draws: Tensor
    embeddings: Tensor
    score: Tensor
    observation_variance: Tensor | float


def regenerate(
    model: GenerativeModel,
    posterior: Posterior,
    sampler: Sampler,
    indices: Sequence[int],
    draws: int = 5,
    seed: int = 0,
    progress: Progress | None = None,
) -> Tensor:
    """The samples `indices` under M weight draws, float32 (N, M, ...); images in [-1, 1].

    Not rounded to grey levels: a posterior of the size that the data ask for may move a pixel by less than one.
    Initial noise, class and ancestral noise are those of the sample: only the weights vary. The trained weights are
    back in place afterwards, also after an exception.
    """
    posterior.require_weights_of(model)
    versions = []
    for m in range(draws):
        with swapped(posterior.module, posterior.draw(m, seed)):
            versions.append(sample(model, sampler, indices, progress=progress))
    return torch.stack(versions, dim=1)


def generative_uncertainty(
    model: GenerativeModel,
    posterior: Posterior,
    likelihood: Likelihood,
    sampler: Sampler,
    indices: Sequence[int],
    draws: int = 5,
    score: str = "entropy",
    seed: int = 0,
    progress: Progress | None = None,
) -> GenerativeUncertainty:
    """Sample, regenerate under the posterior, embed, and score.

    Args:
        score: a name of `genuq.scores.SCORES` whose source is the draws.
        progress: called with the number of samples that each batch finished, (1 + draws) times N in all.
    """
    images = sample(model, sampler, indices, progress=progress)
    versions = regenerate(model, posterior, sampler, indices, draws, seed, progress)
    embeddings = likelihood.embed(to_unit(torch.cat([images[:, None], versions], dim=1)))
    variance = likelihood.observation_variance(embeddings).value
    values = functional(score)(embeddings, variance)
    return GenerativeUncertainty(to_bytes(images), to_bytes(versions), embeddings, values, variance)
