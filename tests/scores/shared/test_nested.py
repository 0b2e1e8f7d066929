"""The nested estimator on Gaussian toys where the parts are known, and beside tables read one number at a time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genuq.scores.shared.nested import components
from support.slow_scores import parts_of

WEIGHTS, NOISES, BOTH = 0.7, 2.0, 1.3  # variances: of the weights' effect, of the noises', of what they do together


def covariance(members: int, noises: int) -> Tensor:
    """Of a Gaussian table (M P, M P): y_mp = a_m + b_p + c_mp."""
    one_M, one_P = torch.eye(members, dtype=torch.float64), torch.eye(noises, dtype=torch.float64)
    all_M, all_P = torch.ones_like(one_M), torch.ones_like(one_P)
    return WEIGHTS * torch.kron(one_M, all_P) + NOISES * torch.kron(all_M, one_P) + BOTH * torch.kron(one_M, one_P)


@pytest.mark.parametrize(("members", "noises"), [(2, 2), (3, 2), (2, 5), (5, 4)])
def test_both_parts_are_exactly_unbiased(members: int, noises: int) -> None:
    """The mean of a quadratic form over N(0, L L^T) is the sum of its values at the columns of L."""
    columns = torch.linalg.cholesky(covariance(members, noises)).T.reshape(-1, members, noises)
    found = components(columns.permute(1, 2, 0))
    assert float(found.between.sum()) == pytest.approx(WEIGHTS, rel=1e-12)
    assert float(found.within.sum()) == pytest.approx(NOISES + BOTH, rel=1e-12)
    naive = columns.permute(1, 2, 0).mean(1).var(0).sum()  # the variance of the means
    assert float(naive) == pytest.approx(WEIGHTS + BOTH / noises, rel=1e-12)
    at_one_noise = columns.permute(1, 2, 0).var(0).mean(0).sum()  # what a disagreement is
    assert float(at_one_noise) == pytest.approx(WEIGHTS + BOTH, rel=1e-12)


def test_means_over_many_tables_are_the_parts() -> None:
    tables = torch.randn(40_000, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tables = tables @ torch.linalg.cholesky(covariance(4, 3)).T
    found = components(tables.reshape(-1, 4, 3).permute(1, 2, 0))
    for values, stated in ((found.between, WEIGHTS), (found.within, NOISES + BOTH)):
        error = float(values.std()) / len(tables) ** 0.5
        assert abs(float(values.mean()) - stated) < 5 * error < 0.1


def test_dimensions_add_up_and_samples_do_not() -> None:
    values = torch.randn(4, 3, 5, 2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = components(values)
    for b in range(5):
        parts = [parts_of(values[:, :, b].flatten(2)[..., d].tolist()) for d in range(6)]
        assert float(found.between[b]) == pytest.approx(sum(between for between, _ in parts), rel=1e-10)
        assert float(found.within[b]) == pytest.approx(sum(within for _, within in parts), rel=1e-10)
    assert torch.equal(found.share, found.between / (found.between + found.within))


def test_the_share_is_one_where_weights_alone_matter_and_none_where_nothing_does() -> None:
    weights_alone = torch.tensor([1.0, 2.0, 4.0])[:, None, None].expand(3, 2, 1)
    assert float(components(weights_alone).share) == pytest.approx(1.0)
    assert float(components(torch.zeros(3, 2, 1)).share) == 0.0
    noises_alone = torch.tensor([1.0, 2.0])[None, :, None].expand(3, 2, 1)
    assert float(components(noises_alone).share) == pytest.approx(0.0, abs=1e-12)
