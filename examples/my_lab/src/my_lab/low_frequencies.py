"""Images compared by their coarse structure: the lowest spatial frequencies."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from genuq.errors import ConfigurationError
from genuq.extractors import FromCallable
from genuq.likelihoods import Likelihood, LikelihoodPart


class LowFrequencies(Likelihood):
    """Images compared by the lowest coefficients of their discrete cosine transform (DCT-II, orthonormal).

    With all coefficients it is the pixels in another basis, and the total variance the same.

    Args:
        shape: (C, H, W); genuq gives it.
        frequencies: kept in each direction, from the constant on.
        observation_variance: in squared units of the range [0, 1]; null takes it from the images under the draws.

    Raises:
        ConfigurationError: more frequencies than pixels, or none.
    """

    kind = "low_frequencies"

    def __init__(self, shape: Sequence[int], frequencies: int = 8, observation_variance: float | None = None) -> None:
        channels, height, width = shape
        if not 1 <= frequencies <= min(height, width):
            raise ConfigurationError(
                f"likelihood.frequencies = {frequencies}; images of {height} x {width} have 1 to {min(height, width)}."
            )
        rows, columns = (cosines(size)[:frequencies] for size in (height, width))

        def transform(images_BCHW: Tensor) -> Tensor:
            return (rows.to(images_BCHW) @ images_BCHW @ columns.to(images_BCHW).T).flatten(1)

        extractor = FromCallable(transform, f"dct-{frequencies}", channels * frequencies**2)
        super().__init__(extractor, observation_variance)


def cosines(size: int) -> Tensor:
    """The orthonormal DCT-II of `size` values, (size, size) float64; row k has frequency k / 2 over the range."""
    place = torch.arange(size, dtype=torch.float64)
    matrix = torch.cos(math.pi / size * (place + 0.5) * place[:, None]) * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2)
    return matrix


PART = LikelihoodPart.of(LowFrequencies, name="low_frequencies", label="Low frequencies", needs_images=True)
