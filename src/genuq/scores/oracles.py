"""Oracles: what filtering with real data at hand would do, in the judge's space."""

from __future__ import annotations

import math

from torch import Tensor

from genuq import metrics
from genuq.metrics.checks import Features
from genuq.scores.registry import SCORES


@SCORES.add(label="Realism (sees real data)", kind="oracle", source="real")
def realism(real_RD: Features, fake_ND: Features, k: int) -> Tensor:
    """Minus the realism of each sample, (N,) float64; see `genuq.metrics.realism`."""
    return -metrics.realism(real_RD, fake_ND, k).double()


@SCORES.add(label="Rarity (sees real data)", kind="oracle", source="real")
def rarity(real_RD: Features, fake_ND: Features, k: int) -> Tensor:
    """Rarity of each sample, (N,) float64; see `genuq.metrics.rarity`.

    Off the manifold, where it is not defined, a sample counts as rarer than all others.
    """
    return metrics.rarity(real_RD, fake_ND, k).nan_to_num(math.inf)
