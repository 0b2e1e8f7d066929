"""Gram matrices from correlations, and variances from triangles, against sums over unfolded patches in float64."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from genuq.posteriors import ExactLastLayerLaplace, Scale
from genuq.posteriors.curvature import correlations as correlations_module
from genuq.posteriors.curvature.correlations import lag_correlations
from genuq.posteriors.curvature.head import head_of
from support.posterior_oracles import HEADS, head_case, relative_error


def correlation(features, lag):
    """sum over images and positions of x(q) x(q + lag)^T, position by position."""
    height, width = features.shape[2:]
    total = torch.zeros(features.shape[1], features.shape[1], dtype=torch.float64)
    for row, column in itertools.product(range(height), range(width)):
        there = (row + lag[0], column + lag[1])
        if 0 <= there[0] < height and 0 <= there[1] < width:
            total += features[:, :, row, column].T.double() @ features[:, :, there[0], there[1]].double()
    return total


def unfolded_gram(layer, features):
    a_BKP = F.unfold(features.double(), layer.kernel_size, padding=layer.padding)
    return torch.einsum("bkp,blp->kl", *[F.pad(a_BKP, (0, 0, 0, 1), value=1.0)] * 2)


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (5, 1), (2, 2), (6, 7)])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (2, 4), (5, 3)])
def test_the_correlation_at_every_lag(size, kernel):
    torch.manual_seed(0)
    features = torch.randn(3, 4, *size)
    correlations = lag_correlations(features, kernel)
    scale = features.double().square().sum()
    for row in range(kernel[0]):
        for column in range(1 - kernel[1], kernel[1]):
            found = correlations[row, column + kernel[1] - 1]
            assert (found - correlation(features, (row, column))).abs().max() < 1e-14 * scale


@pytest.mark.parametrize("values_at_once", [1, 300, 2000])
def test_small_working_sets_change_nothing_but_rounding(values_at_once, monkeypatch):
    torch.manual_seed(0)
    layer, features = nn.Conv2d(5, 2, 3, padding=1), torch.randn(9, 5, 8, 6)
    monkeypatch.setitem(correlations_module.VALUES_AT_ONCE, "cpu", values_at_once)
    assert relative_error(head_of(layer).gram(features), unfolded_gram(layer, features)) < 1e-14


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_realistic_head_on_features_far_from_centred(dtype):
    torch.manual_seed(0)
    layer, features = nn.Conv2d(16, 3, 3, padding=1), (50 + F.silu(torch.randn(3, 16, 20, 20))).to(dtype)
    gram = head_of(layer).gram(features)
    assert gram.dtype == torch.float64 and torch.equal(gram, gram.T)
    assert relative_error(gram, unfolded_gram(layer, features)) < 1e-14
    assert torch.linalg.eigvalsh(gram).min() > -1e-14 * gram.trace()


def test_features_in_any_memory_format():
    torch.manual_seed(0)
    layer, features = nn.Conv2d(5, 2, 3, padding=1), torch.randn(4, 5, 8, 6)
    laid_out = features.to(memory_format=torch.channels_last)
    assert relative_error(head_of(layer).gram(laid_out), head_of(layer).gram(features)) < 1e-15


def test_processes_that_split_the_batches_agree():
    torch.manual_seed(0)
    layer, features = nn.Conv2d(6, 3, 3, padding=1), 5 + torch.randn(40, 6, 16, 16)
    one, first, second = (ExactLastLayerLaplace(layer) for _ in range(3))
    for i, batch in enumerate(features.split(7)):
        one.update(batch)
        (first, second)[i % 2].update(batch)
    first.merge(second)
    assert relative_error(first.curvature, one.curvature) < 1e-14
    variances = [p.finalise(Scale(40, 0.1, 1.0)).predictive_variance(features[:2]) for p in (one, first)]
    assert relative_error(*variances) < 1e-9


def fitted_at_scale(layer, features):
    posterior = ExactLastLayerLaplace(layer)
    posterior.update(features)
    return posterior.finalise(Scale(1000, 0.1, 1.0)), posterior.covariance()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_variances_of_single_precision_features_differ_by_single_precision(dtype):
    torch.manual_seed(0)
    layer, features = nn.Conv2d(17, 3, 3, padding=1), F.silu(torch.randn(4, 17, 9, 9)).to(dtype)
    posterior, covariance = fitted_at_scale(layer, features)
    a_BKP = F.pad(F.unfold(features.double(), 3, padding=1), (0, 0, 0, 1), value=1.0)
    quadratic = torch.einsum("bkp,kl,blp->bp", a_BKP, covariance, a_BKP).reshape(4, 1, 9, 9).expand(4, 3, 9, 9)
    variance = posterior.predictive_variance(features)
    assert variance.dtype == torch.float64 and (variance / quadratic - 1).abs().max() < 1e-5
    assert (posterior.predictive_variance(features.double()) / quadratic - 1).abs().max() < 1e-12


def test_autocast_does_not_reach_the_variance():
    torch.manual_seed(0)
    layer, features = nn.Conv2d(5, 2, 3, padding=1), torch.randn(4, 5, 8, 6)
    posterior, _ = fitted_at_scale(layer, features)
    wanted = posterior.predictive_variance(features)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(posterior.predictive_variance(features), wanted)


@pytest.mark.parametrize("name", HEADS)
def test_the_diagonal_without_the_matrix(name):
    layer, features = head_case(name)
    head = head_of(layer)
    assert relative_error(head.gram_diagonal(features), head.gram(features).diagonal()) < 1e-14
