"""Metrics of the k-nearest-neighbour manifold: the union of balls around samples, each reaching its k-th neighbour.

All follow prdc's conventions: Euclidean distance, open balls, a sample is not its own neighbour.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from genuq.metrics.checks import Features, feature_matrix, feature_pair, require_neighbours
from genuq.metrics.distances import MEMORY_BYTES, open_ball
from genuq.metrics.neighbours import Fellows, FellowSearch, kth_nearest
from genuq.metrics.screening import pair_tiles


class PrecisionRecall(NamedTuple):
    """Fractions in [0, 1], except density, which is around 1 for a faithful set and can exceed it."""

    precision: float
    recall: float
    density: float
    coverage: float


def knn_radii(features: Features, k: int, memory_bytes: int = MEMORY_BYTES) -> Tensor:
    """Distance of every sample to its k-th nearest other sample, (N,) float64.

    Args:
        features: (N, D) with N > k.
        k: which neighbour; the sample itself does not count.
        memory_bytes: working memory besides the features.
    Raises:
        DataError: features that are not a finite matrix, or fewer than k + 1 of them.
        ConfigurationError: k < 1.
    """
    features_ND = feature_matrix(features, "features")
    require_neighbours(features_ND, k, "features")
    return kth_nearest(features_ND, k, memory_bytes).sqrt()


def precision_recall(real: Features, fake: Features, k: int, *, memory_bytes: int = MEMORY_BYTES) -> PrecisionRecall:
    """Precision and recall, density and coverage of `fake` against `real`.

    Args:
        real, fake: (N, D) features of one extractor, more than k of each.
        k: neighbours that set the radius of a ball (3 in Kynkaanniemi et al., 5 in Naeem et al.).
        memory_bytes: working memory besides the features; no N x N matrix is held.
    Raises:
        DataError: not two finite matrices of one dimension, or at most k samples in one.
        ConfigurationError: k < 1.
    Source: Kynkaanniemi et al., Improved Precision and Recall, NeurIPS 2019, eqs. 1-2; Naeem et al., Reliable Fidelity
        and Diversity Metrics, ICML 2020, section 3.
    """
    real_ND, fake_ND = feature_pair(real, fake)
    require_neighbours(fake_ND, k, "fake features")
    around_real = open_ball(real_radii(real_ND, k, memory_bytes))
    fake_radii = open_ball(kth_nearest(fake_ND, k, memory_bytes))
    balls_around_fake = torch.zeros(len(fake_ND), dtype=torch.int64, device=real_ND.device)
    real_in_fake = torch.zeros(len(real_ND), dtype=torch.bool, device=real_ND.device)
    real_covered = torch.zeros_like(real_in_fake)
    for tile in pair_tiles(real_ND, fake_ND, memory_bytes):
        real_P, fake_P = tile.within_rows(around_real[tile.rows])
        balls_around_fake[tile.columns] += torch.bincount(fake_P, minlength=tile.squared.shape[1])
        real_covered[tile.rows.start + real_P] = True
        real_in_fake[tile.rows.start + tile.within_columns(fake_radii[tile.columns])[0]] = True
    return PrecisionRecall(
        precision=_mean(balls_around_fake > 0),
        recall=_mean(real_in_fake),
        density=_mean(balls_around_fake) / k,
        coverage=_mean(real_covered),
    )


def membership(real: Features, fake: Features, k: int, *, memory_bytes: int = MEMORY_BYTES) -> Tensor:
    """Whether each fake sample lies on the real manifold, (N,) bool; its mean is precision."""
    real_ND, fake_ND = feature_pair(real, fake)
    radii = open_ball(real_radii(real_ND, k, memory_bytes))
    member_N = torch.zeros(len(fake_ND), dtype=torch.bool, device=real_ND.device)
    for tile in pair_tiles(real_ND, fake_ND, memory_bytes):
        member_N[tile.columns.start + tile.within_rows(radii[tile.rows])[1]] = True
    return member_N


def realism(real: Features, fake: Features, k: int, *, prune: bool = True, memory_bytes: int = MEMORY_BYTES) -> Tensor:
    """Realism of each fake sample, (N,) float64 > 0: the largest ratio of a real ball's radius to the distance from its
    centre. Above 1 lies inside a ball; `inf` for a copy of a real sample.

    Args:
        real, fake: (N, D) features of one extractor.
        k: neighbours that set the radius of a real ball.
        prune: leave out the balls wider than the median, as the paper does, since outliers have wide balls. Without it
            realism > 1 is the same test as membership.
        memory_bytes: working memory besides the features.
    Source: Kynkaanniemi et al., Improved Precision and Recall, NeurIPS 2019, eq. 3.
    """
    real_ND, fake_ND = feature_pair(real, fake)
    radii = real_radii(real_ND, k, memory_bytes)
    if prune:
        kept = radii <= radii.median()
        real_ND, radii = real_ND[kept], radii[kept]
    best_N = torch.zeros(len(fake_ND), dtype=torch.float64, device=real_ND.device)
    for tile in pair_tiles(real_ND, fake_ND, memory_bytes):
        best_N[tile.columns] = tile.greatest_ratios(radii[tile.rows], best_N[tile.columns])
    return best_N.sqrt()


class Neighbourhood(NamedTuple):
    """What real balls say of each fake sample; made with each pair of samples measured once.

    Attributes:
        realism_N: (N,) as `realism` has it, pruned.
        real_P, fake_P: the real ball and the sample of every pair in which the ball holds the sample, in no order.
        fellows: of the fake samples, where they were asked for.
    """

    realism_N: Tensor
    real_P: Tensor
    fake_P: Tensor
    fellows: Fellows | None = None

    @property
    def membership_N(self) -> Tensor:
        """(N,) bool, as `membership` has it."""
        return torch.bincount(self.fake_P, minlength=len(self.realism_N)) > 0


def real_radii(real: Features, k: int, memory_bytes: int = MEMORY_BYTES) -> Tensor:
    """(R,) squared radii, float64, of the balls around real samples (R, D): the distance to the k-th nearest other.

    Raises:
        DataError: no finite matrix, or at most k samples.
        ConfigurationError: k < 1.
    """
    real_ND = feature_matrix(real, "real features")
    require_neighbours(real_ND, k, "real features")
    return kth_nearest(real_ND, k, memory_bytes)


def neighbourhood(
    real: Features,
    fake: Features,
    k: int,
    *,
    fellows: int = 0,
    memory_bytes: int = MEMORY_BYTES,
    radii: Tensor | None = None,
) -> Neighbourhood:
    """`realism`, `membership` and the pairs behind precision, density and coverage, at the price of one of them.

    Args:
        real, fake: (N, D) features of one extractor.
        k: neighbours that set the radius of a real ball.
        fellows: how many nearest other fake samples of each to find too, and the reals among them, which recall of
            subsets is made from; none by default.
        memory_bytes: working memory besides the features and the pairs.
        radii: of the real balls, `real_radii`, where they are known.
    Raises:
        DataError: not two finite matrices of one dimension, or at most k real samples.
        ConfigurationError: k < 1.
    """
    real_ND, fake_ND = feature_pair(real, fake)
    radii = real_radii(real_ND, k, memory_bytes) if radii is None else radii
    narrow = radii <= radii.median()
    best_N = torch.zeros(len(fake_ND), dtype=torch.float64, device=real_ND.device)
    search = FellowSearch(fake_ND, fellows, memory_bytes) if fellows else None
    pairs = []
    for chosen in (narrow, ~narrow):
        index, limits = chosen.nonzero().squeeze(1), radii[chosen]
        for tile in pair_tiles(real_ND[chosen], fake_ND, memory_bytes) if len(index) else ():
            if chosen is narrow:
                best_N[tile.columns] = tile.greatest_ratios(limits[tile.rows], best_N[tile.columns])
            real_P, fake_P = tile.within_rows(open_ball(limits[tile.rows]))
            pairs.append((index[tile.rows.start + real_P], tile.columns.start + fake_P))
            if search is not None:
                search.see(tile, index[tile.rows].numpy())
    real_P, fake_P = (torch.cat(parts) for parts in zip(*pairs))
    return Neighbourhood(best_N.sqrt(), real_P, fake_P, None if search is None else search.found)


def rarity(real: Features, fake: Features, k: int, *, memory_bytes: int = MEMORY_BYTES) -> Tensor:
    """Rarity of each fake sample, (N,) float64: the radius of the smallest real ball that holds it, in feature units.

    `nan` outside every ball, where the paper defines no rarity: such a sample is an artefact, not a rare one (see
    `membership`).

    Source: Han et al., Rarity Score, ICLR 2023, section 3.
    """
    real_ND, fake_ND = feature_pair(real, fake)
    radii = real_radii(real_ND, k, memory_bytes)
    smallest_N = torch.full((len(fake_ND),), math.inf, dtype=torch.float64, device=real_ND.device)
    for tile in pair_tiles(real_ND, fake_ND, memory_bytes):
        real_P, fake_P = tile.within_rows(open_ball(radii[tile.rows]))
        smallest_N.scatter_reduce_(0, tile.columns.start + fake_P, radii[tile.rows.start + real_P], "amin")
    return torch.where(smallest_N.isinf(), math.nan, smallest_N.sqrt())


def _mean(values: Tensor) -> float:
    return float(values.to(torch.float64).mean())
