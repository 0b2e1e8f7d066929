"""Controls: scores and perturbations that know nothing of the posterior. A score has to beat them to mean anything.

Everything random is keyed by (seed, sample index), so a sample's control is the same in any batch.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from genuq import randomness
from genuq.errors import ConfigurationError, DataError
from genuq.extractors.images import to_unit_range
from genuq.parts.bounds import Positive
from genuq.posteriors import isotropic_like
from genuq.scores.registry import SCORES, ScorePart

Indices = Sequence[int] | Tensor

# PNG's deflate at its strongest, so that the size measures the image; it still depends on the version of zlib.
ZLIB_LEVEL = 9


@SCORES.add(name="random", label="Random", kind="control", source="nothing")
def random_score(indices: Indices, seed: int) -> Tensor:
    """(N,) float64, uniform on [0, 1): what filtering by nothing looks like."""
    sources = randomness.generators(seed, indices, randomness.CONTROL)
    if not sources:
        return torch.empty(0, dtype=torch.float64)
    return torch.stack([torch.rand((), generator=source, dtype=torch.float64) for source in sources])


def complexity(images_uint8: Tensor, cutoff: float = 0.25) -> dict[str, Tensor]:
    """How complicated each finished image is, without any model.

    Args:
        images_uint8: (N, C, H, W).
        cutoff: of the high frequencies, in cycles per pixel; see `high_frequency_energy`.
    Returns:
        png_bytes, high_frequency_energy: (N,) float64 each.
    """
    if images_uint8.dtype != torch.uint8:
        raise DataError(f"Complexity is measured on finished uint8 images, not {images_uint8.dtype}.")
    return {
        "png_bytes": png_bytes(images_uint8),
        "high_frequency_energy": high_frequency_energy(images_uint8, cutoff),
    }


@SCORES.add(name="complexity", label="Image complexity", kind="control", source="image", needs_images=True)
def png_bytes(images_uint8: Tensor) -> Tensor:
    """(N,) float64: size in bytes of each image as an optimised PNG."""
    arrays = images_uint8.permute(0, 2, 3, 1).cpu().numpy()
    return torch.tensor([_png_size(array) for array in arrays], dtype=torch.float64)


def _png_size(image_HWC: np.ndarray) -> int:
    buffer = io.BytesIO()
    pixels = image_HWC[:, :, 0] if image_HWC.shape[2] == 1 else image_HWC
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True, compress_level=ZLIB_LEVEL)
    return len(buffer.getvalue())


def high_frequency_energy(images_NCHW: Tensor, cutoff: float = 0.25) -> Tensor:
    """(N,) float64: share of an image's variance at spatial frequencies above `cutoff`; 0 for a constant image.

    Args:
        images_NCHW: uint8, or floating in [0, 1].
        cutoff: cycles per pixel, along any direction; a checkerboard row has 0.5.
    """
    if not 0 <= cutoff < 0.5:
        raise ConfigurationError(f"cutoff must lie in [0, 0.5) cycles per pixel, not {cutoff}.")
    images = to_unit_range(images_NCHW).double()
    energy_NCHW = torch.fft.fft2(images - images.mean((2, 3), keepdim=True), norm="ortho").abs().square()
    rows, columns = (torch.fft.fftfreq(size, device=images.device) for size in images.shape[-2:])
    high_HW = torch.hypot(rows[:, None], columns[None, :]) > cutoff
    total = energy_NCHW.sum((1, 2, 3))
    return (energy_NCHW * high_HW).sum((1, 2, 3)) / total.clamp_min(torch.finfo(torch.float64).tiny)


@SCORES.add(
    label="Direct pixel noise",
    kind="control",
    source="noised_image",
    needs_images=True,
    keys={"standard_deviation": "noise_standard_deviation"},
)
def direct_noise(
    images_NCHW: Tensor, draws: int, standard_deviation: Positive = 0.05, *, seed: int, indices: Indices
) -> Tensor:
    """Finished images with pixel noise, clipped to their range: uncertainty without any generative model.

    Args:
        images_NCHW: uint8, or floating in [0, 1].
        draws: M noisy copies; the first ones are the same for any larger M.
        standard_deviation: of the noise, in units of the range [0, 1].
        indices: (N,) sample indices.
    Returns:
        (N, M, C, H, W) float32 in [0, 1], without the original image.
    """
    if draws < 1 or not standard_deviation > 0:
        raise ConfigurationError(
            f"Direct noise needs draws >= 1 and standard_deviation > 0, not {draws} and {standard_deviation}."
        )
    _require_same_length(images_NCHW, indices)
    images = to_unit_range(images_NCHW)
    noisy = [
        images + standard_deviation * _keyed_normal(images, seed, indices, randomness.PIXELS, m) for m in range(draws)
    ]
    return torch.stack(noisy, dim=1).clamp_(0, 1)


@SCORES.add(
    name="jitter",
    label="Initial-noise jitter",
    kind="control",
    source="initial_noise",
    keys={"relative_size": "jitter_size"},
)
def jitter_initial_noise(
    noise_BCHW: Tensor, *, seed: int, indices: Indices, draw: int, relative_size: Positive = 0.02
) -> Tensor:
    """Initial noise moved a little and renormalised: the sampler's own sensitivity, with the trained weights.

    Args:
        noise_BCHW: initial noise of the samples, any shape behind the first axis.
        seed, indices, draw: the key of the movement.
        relative_size: length of the movement over the length of the noise.
    Returns:
        The same shape; every sample has the norm that it had.
    """
    if not relative_size > 0:
        raise ConfigurationError(f"Jitter needs relative_size > 0, not {relative_size}.")
    _require_same_length(noise_BCHW, indices)
    direction = _keyed_normal(noise_BCHW, seed, indices, randomness.JITTER, draw)
    size = _norm(noise_BCHW)
    moved = noise_BCHW + relative_size * size * direction / _norm(direction)
    return moved * size / _norm(moved)


@SCORES.add(
    label="Initial-noise perturbation (LMI)",
    kind="control",
    source="initial_noise",
    keys={"relative_size": "lmi_size"},
)
def lmi(noise_BCHW: Tensor, *, seed: int, indices: Indices, draw: int, relative_size: Positive = 0.02) -> Tensor:
    """The jitter of the initial noise under its published name, with a size of its own; see `jitter_initial_noise`.

    Args:
        noise_BCHW: initial noise of the samples, any shape behind the first axis.
        seed, indices, draw: the key of the movement, which is that of the jitter.
        relative_size: length of the movement over the length of the noise.
    Returns:
        The same shape; every sample has the norm that it had.
    Source: arXiv 2605.05026.
    """
    return jitter_initial_noise(noise_BCHW, seed=seed, indices=indices, draw=draw, relative_size=relative_size)


@SCORES.add(label="Class prior", kind="control", source="class")
def class_prior(scores_N: Tensor, classes_N: Tensor) -> Tensor:
    """The mean score of the class asked for: what a score tells by the class alone.

    Args:
        scores_N: of all samples.
        classes_N: that were asked for.
    Returns:
        (N,) float64.
    """
    _, number_N = classes_N.unique(return_inverse=True)
    counts = torch.bincount(number_N)
    return (torch.bincount(number_N, weights=scores_N.double()) / counts)[number_N]


def _keyed_normal(like: Tensor, seed: int, indices: Indices, purpose: str, draw: int) -> Tensor:
    """Standard normal of the shape, type and device of `like`, keyed by sample and draw."""
    if len(like) == 0:
        return torch.empty_like(like)
    sources = randomness.generators(seed, indices, f"{purpose}/{draw}")
    return randomness.normal(sources, like.shape[1:]).to(like)


def _norm(x_BX: Tensor) -> Tensor:
    """Euclidean norm of each sample, shaped to broadcast against it."""
    return x_BX.flatten(1).norm(dim=1).view(-1, *[1] * (x_BX.ndim - 1))


def _require_same_length(tensor: Tensor, indices: Indices) -> None:
    if len(tensor) != len(indices):
        raise DataError(f"{len(tensor)} samples with {len(indices)} indices: each sample needs its own.")


SCORES.register(
    ScorePart(
        name="isotropic",
        target=isotropic_like,
        label="Isotropic weight noise",
        description="Noise of the run's posterior's size in the weights, which knows no data.",
        kind="control",
        source="weights",
        internal=frozenset({"kind"}),
    )
)
