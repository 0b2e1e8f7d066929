"""Frechet distance against closed forms, scipy and torchmetrics; streaming and merging against the whole."""

from __future__ import annotations

import warnings

import mpmath
import numpy as np
import pytest
import scipy.linalg
import torch
from torchmetrics.image.fid import _compute_fid

from genuq.errors import DataError, NonFiniteError
from genuq.metrics import (
    GaussianStatistics,
    SmallSampleWarning,
    frechet_distance,
    frechet_from_statistics,
)


def features(count: int, dimension: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    source = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dimension, dimension, generator=source, dtype=torch.float64)
    return torch.randn(count, dimension, generator=source, dtype=torch.float64) @ mixing + shift


def test_diagonal_gaussians_have_a_closed_form():
    mean1, mean2 = torch.tensor([0.0, 1.0, -2.0]), torch.tensor([1.0, 1.0, 2.0])
    deviation1, deviation2 = torch.tensor([1.0, 2.0, 0.0]), torch.tensor([3.0, 0.5, 1.0])
    expected = (mean1 - mean2).square().sum() + (deviation1 - deviation2).square().sum()
    found = frechet_from_statistics(mean1, deviation1.square().diag(), mean2, deviation2.square().diag())
    assert found == pytest.approx(float(expected), abs=1e-12)


def test_agrees_with_scipys_matrix_square_root():
    real, fake = features(400, 12, seed=0).numpy(), features(300, 12, seed=1, shift=0.7).numpy()
    covariances = np.cov(real.T), np.cov(fake.T)
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    shift = real.mean(0) - fake.mean(0)
    expected = shift @ shift + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert frechet_distance(real, fake) == pytest.approx(expected, rel=1e-10)


def test_agrees_with_torchmetrics():
    real, fake = features(500, 24, seed=2), features(450, 24, seed=3, shift=1.0)
    expected = _compute_fid(real.mean(0), torch.cov(real.T), fake.mean(0), torch.cov(fake.T))
    assert frechet_distance(real, fake) == pytest.approx(float(expected), rel=1e-8)


def test_is_symmetric_and_zero_only_between_equal_sets():
    real, fake = features(200, 8, seed=4), features(200, 8, seed=5)
    assert frechet_distance(real, fake) == pytest.approx(frechet_distance(fake, real), rel=1e-10)
    assert frechet_distance(real, real) == pytest.approx(0.0, abs=1e-9)
    assert frechet_distance(real, fake) > 1.0


@pytest.mark.parametrize("rows, dimension", [(40, 200), (150, 200), (300, 100)])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_equal_sets_are_at_distance_zero_and_never_below(rows: int, dimension: int, scale: float) -> None:
    """d(x, x) = 0, whatever N and D: no rounding of half the digits in the directions without variance."""
    same = scale * features(rows, dimension, seed=12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SmallSampleWarning)
        found = frechet_distance(same, same)
    assert 0 <= found < 1e-12 * float(torch.cov(same.T).trace())


def test_a_singular_covariance_is_as_exact_as_the_samples() -> None:
    """tr (S1 S2)^1/2 is the sum of the singular values of X1 X2^T, of centred rows over sqrt(n - 1)."""
    one, two = (features(count, 120, seed=seed, shift=seed) for count, seed in ((30, 1), (25, 2)))
    rows = [(part - part.mean(0)) / (len(part) - 1) ** 0.5 for part in (one, two)]
    cross = torch.linalg.svdvals(rows[0] @ rows[1].T).sum()
    expected = (one.mean(0) - two.mean(0)).square().sum() + sum(part.square().sum() for part in rows) - 2 * cross
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SmallSampleWarning)
        assert frechet_distance(one, two) == pytest.approx(float(expected), rel=1e-12)


def exact(cov1: torch.Tensor, cov2: torch.Tensor) -> float:
    """With forty more digits than float64 has."""
    with mpmath.workdps(55):
        one, two = (mpmath.matrix(part.tolist()) for part in (cov1, cov2))
        roots = [mpmath.sqrt(abs(value)) for value in mpmath.eig(one * two, left=False, right=False)]
        return float(sum(one[i, i] + two[i, i] for i in range(len(cov1))) - 2 * sum(roots))


@pytest.mark.parametrize("spread", [0.5, 3.0, 5.0, 7.0], ids=lambda spread: f"1e-{spread:g}")
def test_directions_of_little_variance_keep_their_digits(spread: float) -> None:
    """Whether by Cholesky and eigenvalues, by singular values, or by eigenvectors."""
    rows = features(60, 7, seed=3), features(80, 7, seed=4)
    sizes = torch.logspace(0, -spread, 7, dtype=torch.float64)
    covariances = [torch.cov((part * sizes).T) for part in rows]
    zero = torch.zeros(7, dtype=torch.float64)
    found = frechet_from_statistics(zero, covariances[0], zero, covariances[1])
    assert found == pytest.approx(exact(*covariances), rel=1e-11)


@pytest.mark.parametrize("spread, dearest", [(0.0, "cholesky_ex"), (4.0, "svdvals"), (9.0, "eigh")])
def test_what_is_dear_is_computed_only_where_it_is_needed(
    spread: float, dearest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = []
    for name in ("cholesky_ex", "svdvals", "eigh"):
        real = getattr(torch.linalg, name)
        monkeypatch.setattr(torch.linalg, name, lambda *given, n=name, f=real: called.append(n) or f(*given))
    sizes = torch.logspace(0, -spread, 6, dtype=torch.float64)
    frechet_distance(torch.randn(50, 6) * sizes, torch.randn(60, 6) * sizes)
    assert dearest in called and ("eigh" in called) is (dearest == "eigh")
    assert ("svdvals" in called) is (dearest != "cholesky_ex")


def test_few_samples_warn_and_still_give_the_exact_value():
    """Singular covariances: the symmetric root stays exact, checked by the rank-deficient closed form on axes."""
    real = torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
    fake = torch.tensor([[0.0, 2.0, 0.0], [0.0, -2.0, 0.0]])
    with pytest.warns(SmallSampleWarning, match=r"N = 2 samples in D = 3.*metric\.extractor"):
        found = frechet_distance(real, fake)
    assert found == pytest.approx(2.0 + 8.0, abs=1e-9)  # variances 2 and 8 on different axes


def test_enough_samples_do_not_warn():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        frechet_distance(features(9, 8, seed=6), features(9, 8, seed=7))
        assert not caught
        frechet_distance(features(8, 8, seed=6), features(9, 8, seed=7))
        assert [warning.category for warning in caught] == [SmallSampleWarning]


@pytest.mark.parametrize("sizes", [[100], [1] * 100, [1, 49, 50], [97, 3]])
def test_streaming_in_any_split_gives_the_whole(sizes):
    whole = features(100, 6, seed=8, shift=1e4)  # a large mean, which E[x^2] - E[x]^2 would not survive in float32
    streamed = GaussianStatistics(6)
    for part in whole.split(sizes):
        streamed.update(part)
    torch.testing.assert_close(streamed.mean_D, whole.mean(0), rtol=1e-12, atol=0)
    torch.testing.assert_close(streamed.covariance_DD, torch.cov(whole.T), rtol=1e-9, atol=1e-9)


def test_merging_is_the_same_as_one_stream():
    whole = features(90, 5, seed=9)
    parts = [GaussianStatistics.of(part) for part in whole.split([20, 70])]
    merged = GaussianStatistics(5).merge(parts[1]).merge(parts[0]).merge(GaussianStatistics(5))
    assert merged.count == 90
    torch.testing.assert_close(merged.covariance_DD, torch.cov(whole.T))


def test_half_precision_is_summed_in_double():
    half = (features(5000, 3, seed=10) + 100).half()
    expected = torch.cov(half.double().T)
    torch.testing.assert_close(GaussianStatistics.of(half).covariance_DD, expected, rtol=1e-10, atol=1e-10)


def test_unusable_features_are_named():
    good = features(10, 3, seed=11)
    with pytest.raises(DataError, match=r"dimension 3 and fake features 2.*metric\.extractor"):
        frechet_distance(good, good[:, :2])
    with pytest.raises(NonFiniteError, match="fake features has 1 NaN"):
        frechet_distance(good, torch.where(torch.arange(30).reshape(10, 3) == 4, torch.nan, good))
    with pytest.raises(DataError, match="N samples by D"):
        frechet_distance(good, good.reshape(-1))
    with pytest.raises(DataError, match="at least 2"):
        GaussianStatistics.of(good[:1]).covariance_DD  # noqa: B018
    with pytest.raises(DataError, match="dimension 4 cannot take features of dimension 3"):
        GaussianStatistics(4).update(good)
