"""A probe of finished samples: they are noised again, and networks are asked what they see."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from genuq import randomness
from genuq.errors import ConfigurationError
from genuq.models import GenerativeModel
from genuq.processes import FlowMatching
from genuq.scores.shared.predictions import ASKED, Label, Predictions, Resources

STREAM = "re-noising probe"


class Level(NamedTuple):
    """A noise level with so many noisings of each sample."""

    t: float
    noisings: int


class Noising(NamedTuple):
    """One of them: number k, whose noise is that of k - 1 with the other sign where k is odd."""

    t: float
    k: int


class Probe(Predictions):
    """Predictions at finished samples that were noised again; a place is a noise level.

    The noises are antithetic pairs, keyed by (seed, sample index): the same at every level, for all weights and in any
    batch, and those of a smaller number are the first of a larger one. Of latent models the sample is encoded.

    Args:
        samples: finished ones as `genuq.sample` gives them: images (B, C, H, W) in [-1, 1], or points.
        indices: of the samples.
        seed: of the noises.
        classes_B: that were asked for; None for a model without classes.
    """

    def __init__(
        self,
        model: GenerativeModel,
        samples: Tensor,
        indices: Sequence[int],
        seed: int = 0,
        classes_B: Tensor | None = None,
        resources: Resources | None = None,
    ) -> None:
        super().__init__(model, classes_B, resources)
        self.samples, self.indices = samples, indices
        self._sources = randomness.generators(seed, indices, STREAM)
        self._noises: list[Tensor] = []

    @cached_property
    @torch.no_grad()
    def latents(self) -> Tensor:
        """The samples in the space of the process, (B, *latent_shape)."""
        return self.model.autoencoder.encode(self.samples.to(self.model.device))

    def at(self, times: Sequence[float], noisings: int = 4) -> list[Level]:
        """These noise levels.

        Args:
            times: sigma / (alpha + sigma), which is t of flow matching; on other paths the time of the same level.
            noisings: K of each sample, in pairs.

        Raises:
            ConfigurationError: times outside of (0, 1), or an odd number of noisings.
        """
        require_times(times)
        require_noisings(noisings)
        return [Level(t, noisings) for t in dict.fromkeys(times)]

    def parts(self, place: Hashable) -> Sequence[Hashable]:
        assert isinstance(place, Level)
        return [Noising(place.t, k) for k in range(place.noisings)]

    def state(self, part: Hashable) -> tuple[Tensor, float]:
        assert isinstance(part, Noising)
        process = self.model.process
        t = float(process.time_at(FlowMatching().half_log_snr(part.t)))
        return float(process.alpha(t)) * self.latents + float(process.sigma(t)) * self.noise(part.k), t

    def noise(self, k: int) -> Tensor:
        """Noise number k of each sample, (B, ...)."""
        while len(self._noises) <= k // 2:
            self._noises.append(randomness.normal(self._sources, self.latents.shape[1:]).to(self.latents))
        return self._noises[k // 2] * (-1 if k % 2 else 1)

    def residual(self, level: Level, label: Label = ASKED) -> Tensor:
        """The re-noising loss (B,): mean squared error of the predicted noise, over noisings and dimensions."""
        noise = torch.stack([self.noise(k) for k in range(level.noisings)]).double()
        return (self.eps(level, label) - noise).square().flatten(2).mean((0, 2))


def require_times(times: Sequence[float], key: str = "times") -> None:
    """Raise ConfigurationError unless there are times, all of them noise levels between data and noise."""
    if not times or not all(0 < t < 1 for t in times):
        raise ConfigurationError(f"{key} = {list(times)}; give noise levels sigma / (alpha + sigma) between 0 and 1.")


def require_noisings(noisings: int, key: str = "noisings") -> None:
    """Raise ConfigurationError unless noisings come in pairs."""
    if noisings < 2 or noisings % 2:
        raise ConfigurationError(f"{key} = {noisings}; noisings come in pairs: give an even number, at least 2.")
