"""The simulated cluster beside closed forms: no failures, one worker that fails, groups that fail together."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import pytest

from genuq.errors import ConfigurationError
from genuq.planning.simulation import GROUP, Cluster, Outcome, Phase, Simulation, by_workers, cluster_of, expected
from genuq.store.leases import STALE

JOB = [Phase("train", 100.0, 4, summed=True), Phase("sample", 64.0, 64, shared=True), Phase("report", 3.0)]


def outcomes(phases: Sequence[Phase], cluster: Cluster) -> list[Outcome]:
    return [Simulation(phases, cluster, number).outcome for number in range(cluster.repeats)]


@pytest.mark.parametrize("workers", [1, 2, 4, 7, 64, 100])
def test_without_failures_it_is_exact(workers: int) -> None:
    alone = Cluster(workers, startup=10.0)
    found = Simulation(JOB, alone).outcome
    assert found == Outcome(pytest.approx(10 + 100 + math.ceil(64 / workers) * 1.0 + 3), 0.0, 0)
    together = Simulation(JOB, Cluster(workers, mode=GROUP, startup=10.0)).outcome
    rounds = math.ceil(4 / workers) * 25.0 + math.ceil(64 / workers) * 1.0
    assert together.seconds == pytest.approx(10 + rounds + 3)


def within(values: Sequence[float], wanted: float) -> bool:
    """Whether their mean is, to four standard errors."""
    return abs(statistics.fmean(values) - wanted) <= 4 * statistics.stdev(values) / math.sqrt(len(values))


@pytest.mark.parametrize("mode", ["alone", GROUP])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("notice", [0.0, 9.0])
def test_one_worker_that_fails_takes_what_renewal_theory_says(mode: str, shared: bool, notice: float) -> None:
    """A piece of length d at rate r, R seconds after each failure: (exp(r d) - 1) (1 / r + R) on average."""
    mtbf, each, pieces, restart, startup = 50.0, 20.0, 6, 7.0, 3.0
    cluster = Cluster(1, mode, mtbf, restart, startup, notice, repeats=1500)
    found = outcomes([Phase("x", pieces * each, pieces, shared)], cluster)
    again = math.expm1(each / mtbf)
    assert within([one.seconds for one in found], startup + pieces * again * (mtbf + restart + startup))
    assert within([one.lost for one in found], pieces * (again * mtbf - each))
    assert within([one.failures for one in found], pieces * again)


def test_a_group_fails_as_often_as_all_its_workers() -> None:
    mtbf, count, restart = 400.0, 4, 5.0
    cluster = Cluster(count, GROUP, mtbf, restart, startup=0.0, repeats=1500)
    found = outcomes([Phase("x", 25.0)], cluster)  # by one, while three wait that can fail too
    again = math.expm1(25.0 * count / mtbf)
    assert within([one.seconds for one in found], again * (mtbf / count + restart))


def test_work_that_is_lost_grows_with_the_shard() -> None:
    small, large = (
        expected([Phase("x", 3600.0, pieces, shared=True)], Cluster(8, mtbf=600.0, repeats=40)) for pieces in (360, 36)
    )
    assert small.lost < large.lost / 5 and small.seconds < large.seconds and small.efficiency > large.efficiency


def test_stragglers_change_no_mean_and_more_workers_hide_them() -> None:
    phases = [Phase("x", 100.0, 200, shared=True)]
    one = outcomes(phases, Cluster(1, startup=0.0, stragglers=0.3, repeats=400))
    assert within([each.seconds for each in one], 100.0)
    many = expected(phases, Cluster(16, startup=0.0, stragglers=0.3, repeats=50))
    assert many.seconds == pytest.approx(100.0 / 16, rel=0.15) and many.low < many.seconds < many.high


def test_it_goes_by_powers_of_two_up_to_the_number_of_workers() -> None:
    assert [one.workers for one in by_workers(JOB, Cluster(64))] == [1, 2, 4, 8, 16, 32, 64]
    found = list(by_workers(JOB, Cluster(6, startup=0.0)))
    assert [one.workers for one in found] == [1, 2, 4, 6] and found[0].efficiency == pytest.approx(1)
    assert [one.speed_up for one in found] == sorted(one.speed_up for one in found)


def test_the_same_seed_is_the_same_numbers() -> None:
    cluster = Cluster(8, mtbf=50.0, stragglers=0.2, repeats=5)
    assert outcomes(JOB, cluster) == outcomes(JOB, cluster) != outcomes(JOB, Cluster(8, mtbf=50.0, seed=1, repeats=5))


def test_a_cluster_is_written_in_one_word() -> None:
    assert cluster_of("workers=64,mtbf=24h,restart=5m,startup=90s,notice=30,mode=group") == Cluster(
        64, GROUP, 86400.0, 300.0, 90.0, 30.0
    )
    assert cluster_of("") == Cluster() and Cluster().notice == STALE


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("worker=3", "--simulate worker=3: choose from workers, mode, mtbf"),
        ("workers=many", "--simulate workers=many: a whole number"),
        ("mtbf=1y", "--simulate mtbf=1y: a number of seconds, or 90s, 5m, 24h, 7d"),
        ("workers=0", r"simulate\.workers = 0"),
        ("mode=torchrun", r"simulate\.mode = 'torchrun'"),
    ],
)
def test_what_no_cluster_has_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        cluster_of(text)
