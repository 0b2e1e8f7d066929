"""Which part of a score's work is enough: as a plain search finds it, and never wrong more often than is said."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import beta, spearmanr

from genuq.analysis.stopping import (
    DECISION,
    RANKING,
    Stopping,
    best_within,
    changed_decisions,
    halves,
    held_out_agreement,
    least_tolerance,
    pareto,
    rank_agreements,
    rank_interval,
    share_bound,
)


def candidates(samples: int, spreads: list[float], seed: int = 0) -> np.ndarray:
    """Scores that see the last one under so much noise."""
    random = np.random.default_rng(seed)
    full_N = random.normal(size=samples)
    return np.stack([full_N + spread * random.normal(size=samples) for spread in spreads] + [full_N])


def test_agreements_are_scipys_and_nothing_for_a_constant() -> None:
    values_CN = candidates(50, [2.0, 0.5, 0.1]).round(1)  # with ties
    for found, values_N in zip(rank_agreements(values_CN), values_CN):
        assert found == pytest.approx(spearmanr(values_N, values_CN[-1]).statistic, abs=1e-12)
    values_CN[1] = 3.0
    assert rank_agreements(values_CN)[1] == 0 and rank_agreements(values_CN)[-1] == pytest.approx(1)


def test_the_interval_of_an_agreement_holds_it_and_shrinks_with_samples() -> None:
    small, large = (rank_interval(0.9, count) for count in (32, 512))
    assert small.low < large.low < 0.9 < large.high < small.high < 1
    assert rank_interval(1.0, 32).low == 1.0


def test_the_interval_covers_what_many_more_samples_say() -> None:
    truth = rank_agreements(candidates(100_000, [0.5]))[0]
    found = [rank_interval(rank_agreements(candidates(64, [0.5], seed))[0], 64) for seed in range(1, 301)]
    assert np.mean([one.low <= truth <= one.high for one in found]) > 0.92


def test_decisions_that_differ_are_counted_one_by_one() -> None:
    values_CN = candidates(40, [1.0, 0.3])
    for found, values_N in zip(changed_decisions(values_CN, 0.75), values_CN):
        kept, of_full = (set(np.argsort(one, kind="stable")[:30]) for one in (values_N, values_CN[-1]))
        assert found == len(kept ^ of_full)


def test_the_bound_of_a_share_is_where_so_few_are_seen_once_in_twenty() -> None:
    for changed, count in ((0, 32), (3, 40), (39, 40)):
        assert share_bound(changed, count) == pytest.approx(beta.ppf(0.95, changed + 1, count - changed))
    assert share_bound(5, 5) == 1.0 and least_tolerance(64) == pytest.approx(1 - 0.05 ** (1 / 32))


@pytest.mark.parametrize("budget", [1.0, 1.15, 1.3, 9.0])
def test_the_best_under_a_budget_is_that_of_a_plain_search(budget: float) -> None:
    random = np.random.default_rng(1)
    agreements_C, costs_C = random.random(30).round(1), 1 + random.random(30).round(1)
    agreements_C[-1], costs_C[-1] = 1.0, 2.5
    best = None
    for number in range(30):
        if costs_C[number] <= budget:
            rival = (-agreements_C[number], costs_C[number], number)
            best = rival if best is None or rival < best else best
    assert best_within(agreements_C, costs_C, budget) == (None if best is None else best[2])


def test_the_front_has_none_that_another_beats() -> None:
    random = np.random.default_rng(2)
    losses_C, costs_C = random.random(40).round(1), random.random(40).round(1)
    front = pareto(losses_C, costs_C, budget=0.8)
    eligible = [number for number in range(40) if costs_C[number] <= 0.8]
    beaten = {
        one
        for one, other in itertools.product(eligible, eligible)
        if (losses_C[other] <= losses_C[one] and costs_C[other] < costs_C[one])
        or (losses_C[other] < losses_C[one] and costs_C[other] <= costs_C[one])
    }
    assert {(losses_C[one], costs_C[one]) for one in front} == {
        (losses_C[one], costs_C[one]) for one in eligible if one not in beaten
    }
    assert list(costs_C[front]) == sorted(costs_C[front], reverse=True)


def test_halves_are_keyed_and_whole() -> None:
    assert halves(65, 3).sum() == 32 and np.array_equal(halves(65, 3), halves(65, 3))
    assert not np.array_equal(halves(65, 3), halves(65, 4))


def test_what_one_half_chooses_the_other_measures() -> None:
    values_CN, costs_C = candidates(64, [1.0, 0.4, 0.2]), np.array([1.1, 1.2, 1.3, 2.0])
    first_N, found = halves(64, 0), []
    for chosen_N in (first_N, ~first_N):
        agreed = [spearmanr(one[chosen_N], values_CN[-1][chosen_N]).statistic for one in values_CN[:3]]
        chosen = values_CN[int(np.argmax(agreed))]
        found.append(spearmanr(chosen[~chosen_N], values_CN[-1][~chosen_N]).statistic)
    assert held_out_agreement(values_CN, costs_C, 1.3, 0) == pytest.approx(np.mean(found))
    assert held_out_agreement(values_CN, costs_C, 2.0, 0) == pytest.approx(1)


@pytest.mark.parametrize("of", [RANKING, DECISION])
def test_all_of_the_work_is_done_where_nothing_less_is_stable(of: str) -> None:
    values_CN, costs_C = candidates(64, [5.0, 5.0]), np.array([1.1, 1.2, 1.5])
    assert Stopping(of, 0.1, 0.75).stop(values_CN, costs_C, 0).chosen == 2
    assert Stopping(of, 0.1, 0.75).stop(values_CN, costs_C, 0, budget=1.3).chosen is None


@pytest.mark.parametrize("of", [RANKING, DECISION])
def test_a_double_of_the_full_score_is_taken_for_less(of: str) -> None:
    values_CN = candidates(64, [5.0, 0.0])
    stopped = Stopping(of, 0.1, 0.75).stop(values_CN, np.array([1.1, 1.2, 1.5]), 0)
    assert stopped.chosen == 1 and stopped.bounds[1] <= 0.1


@pytest.mark.parametrize(("of", "tolerance"), [(RANKING, 0.1), (DECISION, 0.2)])
def test_what_is_called_stable_is_so_in_nineteen_pilots_of_twenty(of: str, tolerance: float) -> None:
    """Among many candidates around the tolerance, checked against 10,000 samples of the full answer."""
    spreads, costs_C = list(np.linspace(3.0, 0.05, 15)), np.linspace(1.0, 2.0, 16)
    stopping = Stopping(of, tolerance, 0.75)
    true_C = stopping.losses(candidates(10_000, spreads, seed=10_000))
    assert true_C[0] > 1.5 * tolerance and true_C[-2] < tolerance
    chosen = [stopping.stop(candidates(96, spreads, seed), costs_C, seed).chosen for seed in range(120)]
    wrong = np.mean([true_C[one] > tolerance for one in chosen])
    assert wrong <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 120)
    assert np.mean(costs_C[np.array(chosen)]) < 1.95  # and something is saved
