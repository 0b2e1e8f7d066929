"""Likelihoods: how a generated image is observed when two regenerations of it are compared.

A likelihood is a feature map c and an observation variance s2: p(e | image) = N(c(image), s2).
It knows nothing of weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from genuq.errors import DataError
from genuq.extractors import Extractor, Pixels
from genuq.extractors.base import Progress
from genuq.likelihoods.draws import Variance, require_variance
from genuq.likelihoods.gaussian import default_observation_variance, gaussian_entropy
from genuq.likelihoods.register import LIKELIHOODS


@dataclass(frozen=True)
class ObservationVariance:
    """s2 in squared units of the features, and a sentence on where it comes from (shown in the report)."""

    value: Variance
    how: str


class Likelihood:
    """A feature map with an observation variance: embeds images and scores their spread.

    Args:
        extractor: c, any `genuq.extractors.Extractor`.
        observation_variance: s2, one number or one for each feature; None takes it from the embeddings.
        normalise: scale every embedding to unit length, so that only its direction counts.
    """

    kind = "likelihood"

    def __init__(
        self, extractor: Extractor, observation_variance: Variance | None = None, normalise: bool = False
    ) -> None:
        if observation_variance is not None:
            require_variance(observation_variance, torch.empty(extractor.dimension))
        self.extractor, self.normalise = extractor, normalise
        self.fixed_variance = observation_variance

    @property
    def name(self) -> str:
        return f"{self.kind}:{self.extractor.name}{'-normalised' if self.normalise else ''}"

    @property
    def dimension(self) -> int:
        return self.extractor.dimension

    def embed(
        self,
        images: Tensor,
        batch_size: int = 32,
        progress: Progress | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Features of images (N, C, H, W), of images under draws (N, M, C, H, W), or of films under draws
        (N, M, C, F, H, W): the mean over their frames.

        Args:
            images: uint8, or floating in [0, 1].
            batch_size, progress, device: see `Extractor.extract`; progress counts images.
        Returns:
            (N, D) or (N, M, D) float32 on the CPU.
        """
        if images.ndim not in (4, 5, 6):
            raise DataError(
                f"Images must be (N, C, H, W) or (N, M, C, H, W), films (N, M, C, F, H, W), not {tuple(images.shape)}."
            )
        if images.ndim == 6:
            images = images.movedim(3, 2)
        flat = images.reshape(-1, *images.shape[-3:])
        features = self.extractor.extract(flat, batch_size, progress, device)
        features = features.reshape(*images.shape[:-3], self.dimension)
        features = features.mean(2) if images.ndim == 6 else features
        return F.normalize(features, dim=-1) if self.normalise else features

    def observation_variance(self, embeddings_NMD: Tensor) -> ObservationVariance:
        """The observation variance for these embeddings: the given one, or else the value from the data."""
        if self.fixed_variance is not None:
            return ObservationVariance(
                self.fixed_variance, "set in the configuration (likelihood.observation_variance)"
            )
        samples, draws, dimension = embeddings_NMD.shape
        how = (
            f"median over the live ones of {dimension} features of the variance between {draws} draws, "
            f"averaged over {samples} samples"
        )
        return ObservationVariance(default_observation_variance(embeddings_NMD), how)

    def uncertainty(self, embeddings_NMD: Tensor) -> Tensor:
        """(N,) float64 generative uncertainty, higher is more uncertain; see `gaussian_entropy`."""
        return gaussian_entropy(embeddings_NMD, self.observation_variance(embeddings_NMD).value)


@LIKELIHOODS.add(name="semantic", label="Semantic", needs_images=True)
class SemanticLikelihood(Likelihood):
    """Images compared by what a feature extractor sees in them; arguments as of `Likelihood`.

    DIFF-UQ: CLIP ViT-B/32, un-normalised, observation variance 1e-3. Normalised embeddings need a far smaller one.
    """

    kind = "semantic"


class PixelLikelihood(Likelihood):
    """Images compared pixel by pixel, in [0, 1]: c = identity.

    Args:
        image_shape: (C, H, W).
        observation_variance: s2 in squared units of the range [0, 1]; None takes it from the images under the draws.
    """

    kind = "pixel"

    def __init__(self, image_shape: Sequence[int], observation_variance: Variance | None = None) -> None:
        super().__init__(Pixels(image_shape), observation_variance)
