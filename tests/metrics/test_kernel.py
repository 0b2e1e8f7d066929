"""Kernel distance against torchmetrics and a loop over pairs."""

from __future__ import annotations

import pytest
import torch
from torchmetrics.image.kid import poly_mmd

from genuq.errors import ConfigurationError, DataError
from genuq.metrics import kernel_distance


def features(count: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(count, 10, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


def test_equal_sizes_agree_with_torchmetrics():
    real, fake = features(80, 0), features(80, 1, shift=0.5)
    assert kernel_distance(real, fake) == pytest.approx(float(poly_mmd(real, fake)), rel=1e-10)


def test_unequal_sizes_agree_with_a_loop_over_pairs():
    real, fake = features(13, 2), features(9, 3, shift=0.3)

    def mean_kernel(left, right, skip_self):
        values = [
            (float(x @ y) / 10 + 1) ** 3
            for i, x in enumerate(left)
            for j, y in enumerate(right)
            if not (skip_self and i == j)
        ]
        return sum(values) / len(values)

    expected = mean_kernel(real, real, True) + mean_kernel(fake, fake, True) - 2 * mean_kernel(real, fake, False)
    assert kernel_distance(real, fake) == pytest.approx(expected, rel=1e-10)


def test_subsets_of_everything_are_the_whole_and_a_seed_fixes_the_rest():
    real, fake = features(60, 4), features(60, 5, shift=0.5)
    assert kernel_distance(real, fake, subsets=3, subset_size=60) == pytest.approx(kernel_distance(real, fake))
    first = kernel_distance(real, fake, subsets=4, subset_size=20, seed=1)
    assert first == kernel_distance(real, fake, subsets=4, subset_size=20, seed=1)
    assert first != kernel_distance(real, fake, subsets=4, subset_size=20, seed=2)


def test_is_unbiased_under_the_null():
    values = torch.tensor([kernel_distance(features(20, 100 + 2 * i), features(20, 101 + 2 * i)) for i in range(200)])
    standard_error = values.std() / 200**0.5
    assert abs(values.mean()) < 3 * standard_error
    assert (values < 0).any()  # an estimator clipped at zero would be biased


@pytest.mark.parametrize("memory_bytes", [1, 2**16, 2**24])
def test_tile_size_does_not_matter(memory_bytes):
    real, fake = features(70, 6), features(50, 7)
    assert kernel_distance(real, fake, memory_bytes=memory_bytes) == pytest.approx(
        kernel_distance(real, fake), rel=1e-9
    )


def test_impossible_subsets_are_refused():
    with pytest.raises(DataError, match=r"subsets of 1000.*subset_size"):
        kernel_distance(features(50, 8), features(50, 9), subsets=2)
    with pytest.raises(ConfigurationError, match="subsets = 0"):
        kernel_distance(features(50, 8), features(50, 9), subsets=0)
    with pytest.raises(DataError, match="at least 2"):
        kernel_distance(features(1, 8), features(50, 9))
