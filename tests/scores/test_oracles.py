"""Oracles in the direction of a score: the higher, the less to be trusted."""

from __future__ import annotations

import math

import torch

from genuq import metrics
from genuq.scores.oracles import rarity, realism

REAL = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
FAKE = torch.cat([REAL[:5] + 0.01, torch.full((2, 3), 50.0)])  # five beside real samples, two far from all


def test_what_is_far_from_all_real_samples_is_trusted_least() -> None:
    found = realism(REAL, FAKE, 3)
    assert found.dtype == torch.float64 and float(found[5:].min()) > float(found[:5].max())
    torch.testing.assert_close(-found, metrics.realism(REAL, FAKE, 3).double())


def test_off_the_manifold_a_sample_is_rarer_than_all_others() -> None:
    found = rarity(REAL, FAKE, 3)
    assert found[5:].tolist() == [math.inf] * 2 and found[:5].isfinite().all()
