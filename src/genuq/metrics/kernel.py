"""Kernel distance: unbiased squared maximum mean discrepancy with a cubic kernel (KID in Inception's feature space).

Source: Binkowski et al., Demystifying MMD GANs, ICLR 2018.
"""

from __future__ import annotations

import torch
from torch import Tensor

from genuq.errors import ConfigurationError
from genuq.metrics.checks import Features, feature_pair, require_count
from genuq.metrics.distances import MEMORY_BYTES, row_slices, tile_side
from genuq.randomness import SUBSET, generator


def kernel_distance(
    real: Features,
    fake: Features,
    *,
    subsets: int | None = None,
    subset_size: int = 1000,
    seed: int = 0,
    degree: int = 3,
    memory_bytes: int = MEMORY_BYTES,
) -> float:
    """Unbiased MMD^2 with the kernel (x . y / D + 1)^degree; 0 in expectation when both sets have one distribution.

    Args:
        real, fake: (N, D) features of one extractor; the sets may differ in size.
        subsets: None takes every pair, the estimator of least variance. A number averages over that many random
            subsets of each set, as KID is usually reported.
        subset_size: samples in each subset; ignored when `subsets` is None.
        seed: of the subsets.
        degree: of the polynomial.
        memory_bytes: working memory besides the features.
    Raises:
        DataError: not two finite matrices of one dimension, or fewer samples than a subset takes.
    """
    real_ND, fake_ND = feature_pair(real, fake)
    if subsets is None:
        return _mmd_squared(real_ND, fake_ND, degree, memory_bytes)
    if subsets < 1:
        raise ConfigurationError(
            f"subsets = {subsets} leaves nothing to average. Give 1 or more, or None for all pairs."
        )
    smaller = min(len(real_ND), len(fake_ND))
    require_count(smaller, subset_size, "samples", f"for subsets of {subset_size}", "lower subset_size")
    source = generator(seed, 0, SUBSET)
    total = 0.0
    for _ in range(subsets):
        chosen_real, chosen_fake = (_choose(part, subset_size, source) for part in (real_ND, fake_ND))
        total += _mmd_squared(chosen_real, chosen_fake, degree, memory_bytes)
    return total / subsets


def _choose(features_ND: Tensor, count: int, source: torch.Generator) -> Tensor:
    return features_ND[torch.randperm(len(features_ND), generator=source)[:count].to(features_ND.device)]


def _mmd_squared(real_ND: Tensor, fake_MD: Tensor, degree: int, memory_bytes: int) -> float:
    real_count, fake_count = len(real_ND), len(fake_MD)
    require_count(min(real_count, fake_count), 2, "samples", "for a kernel distance", "give more")
    within_real = _kernel_sum(real_ND, real_ND, degree, memory_bytes) - _self_sum(real_ND, degree, memory_bytes)
    within_fake = _kernel_sum(fake_MD, fake_MD, degree, memory_bytes) - _self_sum(fake_MD, degree, memory_bytes)
    between = _kernel_sum(real_ND, fake_MD, degree, memory_bytes)
    return (
        within_real / (real_count * (real_count - 1))
        + within_fake / (fake_count * (fake_count - 1))
        - 2 * between / (real_count * fake_count)
    )


def _kernel_sum(left_ND: Tensor, right_MD: Tensor, degree: int, memory_bytes: int) -> float:
    """Sum of the kernel over all pairs; tiles under the diagonal of one set against itself are counted by symmetry."""
    side = tile_side(left_ND.shape[1], memory_bytes)
    total, same = 0.0, left_ND is right_MD
    for rows in row_slices(len(left_ND), side):
        left = left_ND[rows].to(torch.float64)
        for columns in row_slices(len(right_MD), side):
            if same and columns.start < rows.start:
                continue
            tile = (left @ right_MD[columns].to(torch.float64).T).div_(left.shape[1]).add_(1.0).pow_(degree)
            total += float(tile.sum()) * (2 if same and columns != rows else 1)
    return total


def _self_sum(features_ND: Tensor, degree: int, memory_bytes: int) -> float:
    slices = row_slices(len(features_ND), tile_side(features_ND.shape[1], memory_bytes))
    norms = torch.cat([features_ND[rows].to(torch.float64).square().mean(1) for rows in slices])
    return float((norms + 1.0).pow(degree).sum())
