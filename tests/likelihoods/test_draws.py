"""Embeddings of draws, checked and worked through a few samples at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genuq.errors import ConfigurationError, DataError, NonFiniteError
from genuq.likelihoods import draws
from genuq.likelihoods.draws import chunks, per_sample, require_variance, variance_of_draws


@pytest.mark.parametrize("numbers", [1, 24, 25, 10**6])
def test_chunks_are_the_whole_in_order_and_in_float64(numbers, monkeypatch):
    monkeypatch.setattr(draws, "CHUNK_NUMBERS", numbers)
    whole = torch.randn(7, 4, 3, generator=torch.Generator().manual_seed(0))
    parts = list(chunks(whole))
    assert torch.equal(torch.cat(parts), whole.double()) and all(part.dtype == torch.float64 for part in parts)
    assert len(parts) == -(-7 // max(1, numbers // 12))
    assert torch.equal(per_sample(whole, lambda part: part.sum((1, 2))), whole.double().sum((1, 2)))


def test_no_samples_are_no_chunks():
    assert not list(chunks(torch.empty(0, 4, 3))) and per_sample(torch.empty(0, 4, 3), torch.sum).shape == (0,)


def test_the_variance_is_numpys_also_far_from_zero():
    values = 1e8 + torch.randn(5, 6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(variance_of_draws(values), np.var(values.numpy(), axis=1), rtol=1e-7)


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 0), (2, 1, 3)])
def test_embeddings_of_another_form_are_refused(shape):
    with pytest.raises(DataError, match=r"must be \(N samples, M draws, D features\)|at least 2 draws"):
        list(chunks(torch.zeros(shape)))


def test_the_first_broken_sample_is_named(monkeypatch):
    monkeypatch.setattr(draws, "CHUNK_NUMBERS", 24)
    broken = torch.zeros(7, 4, 3)
    broken[5, 2, 1] = torch.inf
    with pytest.raises(NonFiniteError, match="sample 5"):
        list(chunks(broken))


def test_an_observation_variance_is_positive_for_all_or_for_each_feature():
    like = torch.zeros(2, 3)
    assert require_variance(0.5, like).shape == () and require_variance(torch.ones(3), like).dtype == torch.float64
    for wrong in (0.0, -1.0, float("nan"), torch.ones(2), torch.ones(1, 3)):
        with pytest.raises(ConfigurationError, match=r"likelihood\.observation_variance must be"):
            require_variance(wrong, like)
