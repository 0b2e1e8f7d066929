"""FID, precision, recall, density and coverage of many subsets of one set of samples, fast.

A study asks for thousands of subsets: fractions kept by each score, their random controls, halves for the intervals.
What does not depend on the subset is computed once:
    - precision, density, coverage: which real balls hold which sample (a real ball's radius never changes);
    - recall: each sample's neighbours in order, and how many reals lie within each of those distances, since the ball
      around a sample grows as its neighbours are removed;
    - FID: the root of the real covariance, folded into the features.
    - FID of nested subsets: each row's part of the Gram matrix, to which the next larger subset adds its own.
Every value equals that of `genuq.metrics` on the subset.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genuq.analysis.inputs import Array
from genuq.analysis.metrics import CURVES, METRICS, MetricPart
from genuq.metrics.checks import Features, feature_pair, require_neighbours
from genuq.metrics.distances import MEMORY_BYTES, open_ball, row_slices, squared_distances
from genuq.metrics.frechet import gaussian_of, symmetric_root
from genuq.metrics.manifold import Neighbourhood
from genuq.metrics.manifold import neighbourhood as neighbourhood_of
from genuq.metrics.neighbours import Fellows, fellows_of
from genuq.metrics.reference import Gaussian

POSITIVE = (0.0, math.inf)
SEARCH = 3  # times k / share neighbours usually hold k members of a subset with that share of the samples


class SubsetJudge:
    """Metrics of any subset of the samples against the reference.

    Args:
        fake_ND: features of the samples, from the judge's extractor.
        real_RD: features of the reference.
        k: neighbours that set the radius of a ball.
        smallest_share: of the samples in the smallest subset that will be asked for. It only sets how many neighbours
            are remembered; subsets that need more are computed from the features.
        metrics: names of `METRICS`; rows of results follow this order.
        reference: of the FID, in place of the mean and covariance of real_RD.
        neighbourhood: of these samples in real_RD with k neighbours, where it is known already.
    """

    def __init__(
        self,
        fake_ND: Features,
        real_RD: Features,
        k: int,
        smallest_share: float = 0.25,
        metrics: Sequence[str] = CURVES,
        reference: Gaussian | None = None,
        neighbourhood: Neighbourhood | None = None,
    ) -> None:
        real, fake = feature_pair(real_RD, fake_ND)
        real, fake = real.cpu(), fake.cpu()
        require_neighbours(real, k, "real features")
        require_neighbours(fake, k, "fake features")
        known = [METRICS.get(name) for name in metrics]
        self.metrics, self.count, self.k = tuple(metrics), len(fake), k
        self.bounds = np.array([part.bounds for part in known]).T
        self.better = np.array([-1.0 if part.lower_is_better else 1.0 for part in known])
        supplied: dict[str, Any] = {"k": k, "smallest_share": smallest_share, "reference": reference}
        supplied["neighbourhood"] = neighbourhood
        makers = {part.path: part for part in known}.values()
        self._made = [part.make(fake, real, **supplied) for part in makers]

    def __call__(self, members: Array) -> Array:
        """(metrics,) values of the samples with these indices, which must be distinct."""
        return self.nested([members])[0]

    def nested(self, subsets: Sequence[Array]) -> Array:
        """(subsets, metrics) values of subsets each of which holds the next, such as those that a filter keeps.

        A metric that can, with a method `nested`, goes from one to the next; the others are called for each.
        """
        values: list[dict[str, float]] = [{} for _ in subsets]
        for made in self._made:
            found = made.nested(subsets) if hasattr(made, "nested") else [made(members) for members in subsets]
            for row, one in zip(values, found, strict=True):
                row |= one
        return np.array([[row[name] for name in self.metrics] for row in values])


@METRICS.add(name="fid", label="FID", lower_is_better=True, bounds=POSITIVE)
class SubsetFrechet:
    """Frechet distance of a subset, from rows already centred on the real mean and multiplied by the real root."""

    def __init__(self, fake_ND: Tensor, real_RD: Tensor, reference: Gaussian | None = None) -> None:
        real = gaussian_of(real_RD) if reference is None else reference
        root_DD = symmetric_root(real.covariance_DD)
        self.root_DD = root_DD.numpy()
        self.real_mean_D, self.real_trace = real.mean_D, float(real.covariance_DD.trace())
        self.fake_ND, self.rooted_ND, self.norms_N = fake_ND, np.empty(fake_ND.shape), np.empty(len(fake_ND))
        fits = 16 * fake_ND.numel() <= MEMORY_BYTES  # centred rows besides the rooted ones
        self.block_rows = len(fake_ND) if fits else max(1, MEMORY_BYTES // (128 * fake_ND.shape[1]))
        self.blocks = row_slices(len(fake_ND), self.block_rows)
        for rows in self.blocks:
            centred = self._centred(rows)
            self.norms_N[rows] = np.square(centred).sum(1)
            self.rooted_ND[rows] = (torch.from_numpy(centred) @ root_DD).numpy()
        self.only_block = self._centred(self.blocks[0]) if len(self.blocks) == 1 else None

    def _centred(self, rows: slice) -> Array:
        return (self.fake_ND[rows].to(torch.float64) - self.real_mean_D).numpy()

    def __call__(self, members: Array) -> dict[str, float]:
        mean_D = self._mean(members)
        return self._value(members, mean_D, self._gram(members, mean_D))

    def nested(self, subsets: Sequence[Array]) -> list[dict[str, float]]:
        """Values of subsets each of which holds the next: every row enters one product, not one a subset."""
        if len(subsets[-1]) <= len(self.real_mean_D):
            return [self(members) for members in subsets]
        origin_D, found = self._mean(subsets[0]) @ self.root_DD, []
        gram_DD, inner = np.zeros_like(self.root_DD), np.empty(0, dtype=np.int64)
        for members in reversed(subsets):
            gram_DD += self._gram_about(origin_D, np.setdiff1d(members, inner, assume_unique=True))
            mean_D, inner = self._mean(members), members
            shift_D = mean_D @ self.root_DD - origin_D
            found.append(self._value(members, mean_D, gram_DD - len(members) * np.outer(shift_D, shift_D)))
        return found[::-1]

    def _value(self, members: Array, mean_D: Array, gram: Array) -> dict[str, float]:
        """The distance, from the members' mean and the Gram matrix of their rooted rows less its root."""
        shift, freedom = mean_D @ mean_D, len(members) - 1
        trace = (self.norms_N[members].mean() - shift) * len(members) / freedom
        cross = np.sqrt(np.clip(np.linalg.eigvalsh(gram / freedom), 0, None)).sum()
        return {"fid": float(max(shift + self.real_trace + trace - 2 * cross, 0.0))}

    def _mean(self, members: Array) -> Array:
        """(D,) mean of the centred rows; weighting all of them is cheaper than gathering the members'."""
        weights_N = np.zeros(len(self.norms_N))
        weights_N[members] = 1 / len(members)
        if self.only_block is not None:
            return np.asarray(weights_N @ self.only_block)
        return np.sum([weights_N[rows] @ self._centred(rows) for rows in self.blocks], axis=0)

    def _gram(self, members: Array, mean_D: Array) -> Array:
        """Gram matrix of the members' rooted rows less their mean, or of its columns: the smaller one.

        They share their eigenvalues other than zero.
        """
        if len(members) <= max(self.block_rows, len(mean_D)):
            rooted = self.rooted_ND.take(members, axis=0)
            rooted -= rooted.mean(0)
            return rooted.T @ rooted if len(rooted) > rooted.shape[1] else rooted @ rooted.T
        return self._gram_about(mean_D @ self.root_DD, members)

    def _gram_about(self, origin_D: Array, members: Array) -> Array:
        """(D, D) Gram matrix of the members' rooted rows less this one."""
        gram_DD = np.zeros_like(self.root_DD)
        for part in row_slices(len(members), self.block_rows):
            rooted = self.rooted_ND.take(members[part], axis=0)
            rooted -= origin_D
            gram_DD += rooted.T @ rooted
        return gram_DD


class RealBalls:
    """Which real balls hold each sample."""

    def __init__(self, fake_ND: Tensor, real_RD: Tensor, k: int, neighbourhood: Neighbourhood | None = None) -> None:
        known = neighbourhood or neighbourhood_of(real_RD, fake_ND, k)
        self.k, self.reals = k, len(real_RD)
        self.balls = Lists.by_owner(known.fake_P.numpy(), known.real_P.numpy(), len(fake_ND))

    def __call__(self, members: Array) -> dict[str, float]:
        held = self.balls.sizes[members]
        covered = np.zeros(self.reals, dtype=bool)
        covered[self.balls.heads(members, held)] = True
        return {
            "precision": float((held > 0).mean()),
            "density": float(held.mean()) / self.k,
            "coverage": float(covered.mean()),
        }


class FakeBalls:
    """Share of reals inside any ball around a member, whose radius reaches its k-th nearest fellow member."""

    def __init__(
        self,
        fake_ND: Tensor,
        real_RD: Tensor,
        k: int,
        smallest_share: float,
        neighbourhood: Neighbourhood | None = None,
    ) -> None:
        self.fake_ND, self.real_RD, self.k = fake_ND, real_RD, k
        count = fellows_asked(len(fake_ND), k, smallest_share)
        known = None if neighbourhood is None else neighbourhood.fellows
        if known is None or known.index_NJ.shape[1] < count:
            known = fellows_of(real_RD, fake_ND, count, MEMORY_BYTES)
        self.neighbours_NJ = known.index_NJ.numpy()
        self.reals, self.inside_NJ = _reals_within(known)

    def __call__(self, members: Array) -> dict[str, float]:
        covered = np.zeros(len(self.real_RD), dtype=bool)
        present_N = np.zeros(len(self.fake_ND), dtype=bool)
        present_N[members] = True
        remembered = self.neighbours_NJ.shape[1]
        expected = math.ceil(SEARCH * self.k * len(present_N) / len(members))
        left = members
        for width in (min(expected, remembered), remembered):
            left, found, kth = self._kth_member(left, present_N, width)
            covered[self.reals.heads(found, self.inside_NJ[found, kth])] = True
        if len(left):
            covered |= self._covered_from_features(left, members)
        return {"recall": float(covered.mean())}

    def _kth_member(self, rows: Array, present_N: Array, width: int) -> tuple[Array, Array, Array]:
        """Rows whose k-th nearest member is beyond the first `width` neighbours; the others, and its place there."""
        nearby = self.neighbours_NJ[:, :width].take(rows, axis=0)
        rank = np.cumsum(present_N.take(nearby), axis=1, dtype=np.int32)
        known = rank[:, -1] >= self.k
        return rows[~known], rows[known], np.argmax(rank[known] >= self.k, axis=1)

    def _covered_from_features(self, rows: Array, members: Array) -> Array:
        """For rows with fewer than k members among their remembered neighbours: measured anew."""
        covered, fellows = np.zeros(len(self.real_RD), dtype=bool), self.fake_ND[members]
        for part in row_slices(len(rows), max(1, MEMORY_BYTES // (32 * (len(members) + len(self.real_RD))))):
            some = self.fake_ND[rows[part]].to(torch.float64)
            distances = squared_distances(some, fellows)
            distances[torch.from_numpy(rows[part, None] == members[None])] = math.inf
            radii = open_ball(distances.kthvalue(self.k, dim=1).values)
            covered |= (squared_distances(some, self.real_RD) < radii[:, None]).any(0).numpy()
        return covered


class Lists:
    """One list of integers for each of N owners, stored end to end in the order of their owners.

    Args:
        items: of all owners.
        sizes: of each owner's list.
    """

    def __init__(self, items: Array, sizes: Array) -> None:
        self.items, self.sizes = items.astype(np.int32, copy=False), sizes
        self.starts = np.cumsum(self.sizes) - self.sizes

    @classmethod
    def by_owner(cls, owner_P: Array, item_P: Array, owners: int) -> Lists:
        """Of pairs in any order."""
        return cls(item_P[np.argsort(owner_P, kind="stable")], np.bincount(owner_P, minlength=owners))

    def heads(self, owners: Array, counts: Array) -> Array:
        """The first `counts` items of each of `owners`, end to end."""
        ends = np.cumsum(counts)
        total = int(ends[-1]) if len(ends) else 0
        shift = np.repeat(self.starts[owners] - (ends - counts), counts)
        return self.items[np.arange(total) + shift]


def fellows_asked(samples: int, k: int, smallest_share: float) -> int:
    """How many nearest others of each sample a `SubsetJudge` remembers."""
    return min(samples - 1, math.ceil(SEARCH * k / smallest_share))


def _reals_within(known: Fellows) -> tuple[Lists, Array]:
    """Each sample's reals by distance, as far as its last fellow; and how many lie within each of its radii."""
    radii_NJ = open_ball(known.squared_NJ).numpy()
    items, sizes_N, counts_NJ = [], np.zeros(len(radii_NJ), dtype=np.int64), np.empty(radii_NJ.shape, dtype=np.int32)
    for start, (place_P, real_P, squared_P) in known.bands():
        order_P = np.lexsort((squared_P, place_P))
        items.append(real_P[order_P])
        sizes = np.bincount(place_P)
        sizes_N[start : start + len(sizes)] = sizes
        ascending = np.split(squared_P[order_P], np.cumsum(sizes)[:-1])
        for sample, nearest in enumerate(ascending, start):
            counts_NJ[sample] = np.searchsorted(nearest, radii_NJ[sample])
    counts_NJ[sizes_N == 0] = 0
    return Lists(np.concatenate(items), sizes_N), counts_NJ


METRICS.register(MetricPart(name="precision", target=RealBalls, label="Precision"))
METRICS.register(MetricPart(name="recall", target=FakeBalls, label="Recall"))
METRICS.register(MetricPart(name="density", target=RealBalls, label="Density", bounds=POSITIVE))
METRICS.register(MetricPart(name="coverage", target=RealBalls, label="Coverage"))
