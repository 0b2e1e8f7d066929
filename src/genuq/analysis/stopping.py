"""Which part of a score's work is enough: by the ranks or the kept samples of a pilot that did all of it.

Candidates are settings that each do a part of the full one's work; the last one is the full one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import betaincinv

from genuq.analysis.filtering import keep_lowest
from genuq.analysis.inputs import Array
from genuq.analysis.intervals import STANDARD_ERRORS, Interval
from genuq.analysis.ranks import average_ranks
from genuq.randomness import key

MISTAKE = 0.05  # probability with which a bound may be wrong
ONE_SIDED = 1.6448536269514722  # standard errors of a normal distribution below a one-sided 95 % bound
ROUNDING = 1e-9  # of a cost
TIES = 1e-6  # of the ranks, where as many decisions change
RANKING, DECISION = "ranking", "decision"


class Stopped(NamedTuple):
    """The cheapest candidate that was shown to be stable.

    Attributes:
        chosen: number of the candidate; None: none of those that may be chosen.
        bounds: by candidate, the 95 % upper bounds that were looked at, one after the other.
    """

    chosen: int | None
    bounds: dict[int, float]


def rank_agreements(values_CN: Array) -> Array:
    """(C,) Spearman's correlation of every candidate with the last; 0 for one that is constant."""
    ranks_CN = average_ranks(values_CN)
    ranks_CN = ranks_CN - ranks_CN.mean(1, keepdims=True)
    scale_C = np.sqrt((ranks_CN**2).sum(1) * (ranks_CN[-1] ** 2).sum())
    return np.divide(ranks_CN @ ranks_CN[-1], scale_C, out=np.zeros(len(scale_C)), where=scale_C > 0).clip(-1, 1)


def rank_interval(agreement: float, count: int) -> Interval:
    """Spearman's correlation with its 95 % interval, by the normal approximation of its Fisher transform.

    Source: Bonett and Wright, Sample size requirements for estimating Pearson, Kendall and Spearman correlations,
        Psychometrika 65, 2000.
    """
    ends = (_moved(agreement, count, side * STANDARD_ERRORS) for side in (-1, 1))
    return Interval(agreement, *ends)


def _moved(agreement: float, count: int, errors: float) -> float:
    if abs(agreement) >= 1 - 1e-12:
        return agreement
    spread = np.sqrt((1 + agreement**2 / 2) / max(count - 3, 1))
    return float(np.tanh(np.arctanh(agreement) + errors * spread))


def changed_decisions(values_CN: Array, keep: float) -> Array:
    """(C,) how many samples every candidate keeps that the last does not, or the other way round.

    Args:
        keep: share of the samples that are kept, those with the lowest scores.
    """
    kept_CN = np.zeros(values_CN.shape, dtype=bool)
    for kept_N, values_N in zip(kept_CN, values_CN):
        kept_N[keep_lowest(values_N, keep)] = True
    return (kept_CN != kept_CN[-1]).sum(1)


def share_bound(changed: int, count: int) -> float:
    """95 % upper bound of a share of which `changed` of `count` were seen.

    Source: Clopper and Pearson, Biometrika 26, 1934.
    """
    return 1.0 if changed >= count else float(betaincinv(changed + 1, count - changed, 1 - MISTAKE))


def least_tolerance(count: int) -> float:
    """The smallest share of changed decisions that a pilot can show: half of it checks, and sees none."""
    return share_bound(0, count - count // 2)


def best_within(agreements_C: Array, costs_C: Array, budget: float) -> int | None:
    """The candidate under a budget that agrees most with the full one; of equals the cheapest, then the first."""
    eligible = np.flatnonzero(costs_C <= budget + ROUNDING)
    if not len(eligible):
        return None
    return int(eligible[np.lexsort((eligible, costs_C[eligible], -agreements_C[eligible].round(12)))[0]])


def held_out_agreement(values_CN: Array, costs_C: Array, budget: float, seed: int) -> float:
    """Spearman's correlation with the full setting of what one half of the pilot chooses, on the other half; mean."""
    first_N = halves(values_CN.shape[1], seed)
    found = []
    for choosing_N in (first_N, ~first_N):
        chosen = best_within(rank_agreements(values_CN[:, choosing_N]), costs_C, budget)
        assert chosen is not None, "it does not depend on the samples which candidates are eligible"
        found.append(rank_agreements(values_CN[:, ~choosing_N])[chosen])
    return float(np.mean(found))


def halves(count: int, seed: int) -> Array:
    """(N,) bool: a random half of the samples, the smaller where they are odd."""
    first_N = np.zeros(count, dtype=bool)
    first_N[np.random.default_rng(key(seed, count, "halves of the pilot")).permutation(count)[: count // 2]] = True
    return first_N


@dataclass(frozen=True)
class Stopping:
    """What is to be stable.

    Attributes:
        of: `ranking`, whose loss is 1 less Spearman's correlation with the full setting, or `decision`, whose loss is
            the share of samples that are kept by one setting and dropped by the other.
        tolerance: the largest loss.
        keep: of decisions, the share of samples that are kept.
    """

    of: str
    tolerance: float
    keep: float

    def losses(self, values_CN: Array) -> Array:
        """(C,)."""
        if self.of == RANKING:
            return 1 - rank_agreements(values_CN)
        return changed_decisions(values_CN, self.keep) / values_CN.shape[1]

    def bound(self, candidate: int, values_CN: Array) -> float:
        """95 % upper bound of the loss of a candidate that was chosen without these samples; the full one has none."""
        if candidate == len(values_CN) - 1:
            return 0.0
        pair_2N, count = values_CN[[candidate, -1]], values_CN.shape[1]
        if self.of == RANKING:
            return 1 - _moved(float(rank_agreements(pair_2N)[0]), count, -ONE_SIDED)
        return share_bound(int(changed_decisions(pair_2N, self.keep)[0]), count)

    def stop(self, values_CN: Array, costs_C: Array, seed: int, budget: float = np.inf) -> Stopped:
        """The cheapest candidate that is shown to be stable.

        One half of the samples says which candidates lose least for their cost. From the dearest of these to the
        cheapest, the other half checks them until the bound of one exceeds the tolerance: as the order is fixed before
        that half is seen, the probability is at most 5 % that the one chosen loses more, however many were compared.

        Args:
            budget: the highest cost of a candidate that may be chosen.

        Source: Pareto testing, Laufer-Goldshtein et al., arXiv 2210.07913; fixed sequence testing, Angelopoulos et al.,
            Learn then Test, arXiv 2110.01052.
        """
        first_N = halves(values_CN.shape[1], seed)
        chosen, bounds = len(costs_C) - 1 if costs_C[-1] <= budget + ROUNDING else None, {}
        losses_C = self.losses(values_CN[:, first_N]) + TIES * (1 - rank_agreements(values_CN[:, first_N]))
        for candidate in pareto(losses_C, costs_C, budget):
            bounds[candidate] = self.bound(candidate, values_CN[:, ~first_N])
            if bounds[candidate] > self.tolerance:
                break
            chosen = candidate
        return Stopped(chosen, bounds)


def pareto(losses_C: Array, costs_C: Array, budget: float = np.inf) -> list[int]:
    """Candidates under a budget of which none is both cheaper and better, the dearest first."""
    order = np.lexsort((np.arange(len(costs_C)), losses_C, costs_C))
    front: list[int] = []
    for candidate in order[costs_C[order] <= budget + ROUNDING]:
        if not front or losses_C[candidate] < losses_C[front[-1]]:
            front.append(int(candidate))
    return front[::-1]
