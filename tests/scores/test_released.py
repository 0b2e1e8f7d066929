"""The released entropy against NumPy's own half precision, and each of its faults alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from genuq import scores
from genuq.errors import ConfigurationError
from genuq.scores.released import ENTROPY_FAULTS, HALF, LAST, UNCENTRED, variance_as_released

VARIANCE = 1e-3


def embeddings(mean: float, spread: float, features: int = 64) -> Tensor:
    source = torch.Generator().manual_seed(0)
    return mean + spread * torch.randn(40, 6, features, generator=source)


def in_numpy(values: Tensor, half: bool, uncentred: bool) -> tuple[np.ndarray, np.ndarray]:
    """(entropy, variance): float16 arrays throughout, sums over draws and features in float64 and rounded once."""
    kind = np.float16 if half else np.float64
    e = values.numpy().astype(kind)

    def total(array: np.ndarray, axis: int) -> np.ndarray:
        return array.sum(axis, dtype=np.float64)

    mean = (total(e, 1) / e.shape[1]).astype(kind)
    if uncentred:
        variance = (total(e * e, 1) / e.shape[1]).astype(kind) - mean * mean
    else:
        deviation = e - mean[:, None]
        variance = (total(deviation * deviation, 1) / e.shape[1]).astype(kind)
    with np.errstate(invalid="ignore", divide="ignore"):
        logarithm = total(np.log((variance + kind(VARIANCE)).astype(np.float64)).astype(kind), 1).astype(kind)
    constant = kind(e.shape[-1] / 2 * (1 + math.log(2 * math.pi)))
    return (logarithm / kind(2) + constant).astype(np.float64), variance.astype(np.float64)


@pytest.mark.parametrize("faults", [(), (HALF,), (UNCENTRED,), ENTROPY_FAULTS], ids=str)
def test_each_fault_alone_is_numpys(faults: tuple[str, ...]) -> None:
    values = embeddings(0.3, 0.1)
    expected, variance = in_numpy(values, HALF in faults, UNCENTRED in faults)
    found = scores.entropy_as_released(values, VARIANCE, faults)
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-12 if HALF not in faults else 0, atol=1e-9)
    torch.testing.assert_close(variance_as_released(values, faults), torch.from_numpy(variance), rtol=0, atol=1e-12)


def test_without_faults_it_is_the_entropy() -> None:
    values = embeddings(5.0, 0.1)
    torch.testing.assert_close(
        scores.entropy_as_released(values, VARIANCE, ()), scores.entropy(values, VARIANCE), rtol=1e-12, atol=0
    )


def test_half_precision_and_no_centring_give_negative_variances_only_together() -> None:
    values = embeddings(8.0, 0.02)
    assert (variance_as_released(values) < 0).double().mean() > 0.2
    for fault in ENTROPY_FAULTS:
        assert (variance_as_released(values, [fault]) >= 0).all()


def test_a_sample_without_an_entropy_comes_last() -> None:
    values = torch.cat([embeddings(8.0, 0.02), embeddings(0.3, 0.1)])
    found = scores.entropy_as_released(values, VARIANCE)
    assert (found[:40] == LAST).all() and (found[40:] < LAST).all()


def test_samples_tie_in_half_precision() -> None:
    values = embeddings(0.3, 0.1, 512)
    assert len(scores.entropy_as_released(values, VARIANCE, [HALF]).unique()) < 30
    assert len(scores.entropy_as_released(values, VARIANCE, [UNCENTRED]).unique()) == 40


def test_an_unknown_fault_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"faults.*half_precision"):
        scores.entropy_as_released(embeddings(0.3, 0.1), VARIANCE, ["halved"])
