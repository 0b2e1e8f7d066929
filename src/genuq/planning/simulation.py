"""How long a job takes on many workers that fail: a discrete-event simulation of the plan's times.

What is assumed, and printed with the numbers, is in `ASSUMPTIONS`.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, get_type_hints

from genuq.errors import ConfigurationError
from genuq.parts.bounds import Count, NonNegative, OneOf, Seed, check_fields
from genuq.store.leases import STALE

ALONE, GROUP = "alone", "group"
ASSUMPTIONS = (
    "times are the plan's: each piece of a stage (a shard of samples, what lies between two checkpoints) takes as long "
    "as any other, however many workers there are (no contention for cores, disk or network)",
    "stages follow one another; sampling, probing, propagating and embedding are shared by all workers, and with "
    "mode=group fits and training are as well; all else is done by one while the others wait",
    "each worker that is up fails at random at a constant rate, 1 / mtbf, independently of the others; a failure loses "
    "the piece that it was making and nothing else",
    "mode=alone (a Slurm array, Ray): a failed worker is back after restart + startup, and its piece can be taken by "
    "another after `notice`; mode=group (torchrun): every failure ends all, who begin again after restart + startup",
    "stragglers: each life of a worker takes exp(s z - s^2 / 2) as long for a piece, z standard normal, mean 1",
)


@dataclass(frozen=True)
class Phase:
    """One artefact in the making.

    Attributes:
        name: of the artefact.
        seconds: that one worker takes for all of it.
        pieces: equal parts, of which a failure loses one.
        shared: whether workers make them side by side; else one after the other, by one at a time.
        summed: whether connected processes share it, though workers on their own do not: fits, training.
    """

    name: str
    seconds: float
    pieces: int = 1
    shared: bool = False
    summed: bool = False


@dataclass(frozen=True)
class Cluster:
    """Workers, and how they fail.

    Attributes:
        workers: N.
        mode: `alone`, each a run of its own that shares the store; `group`, the connected processes of one run.
        mtbf: mean seconds that a worker works between two failures; 0: none fails.
        restart: seconds from a failure until its worker, or its group, is started again.
        startup: seconds of loading before a worker does anything.
        notice: seconds until a piece of a dead worker can be taken by another.
        stragglers: s, spread of the logarithm of the workers' speed.
        repeats: simulations.
        seed: of their random numbers.
    """

    workers: Count = 64
    mode: Annotated[str, OneOf(ALONE, GROUP)] = ALONE
    mtbf: NonNegative = 0.0
    restart: NonNegative = 300.0
    startup: NonNegative = 60.0
    notice: NonNegative = STALE
    stragglers: NonNegative = 0.0
    repeats: Count = 200
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_fields(self, "simulate")


@dataclass(frozen=True)
class Outcome:
    """One simulated job.

    Attributes:
        seconds: until all is made.
        lost: seconds of work on pieces that failures ended.
        failures: of workers that had something to do, or were next.
    """

    seconds: float
    lost: float
    failures: int


@dataclass
class Worker:
    """One of them, as it stands.

    Attributes:
        free: when it can next begin something.
        fails: when it fails next.
        pace: of this life; seconds for a second of the plan.
    """

    free: float
    fails: float
    pace: float


class Simulation:
    """One job on one cluster; `outcome` is what came of it."""

    def __init__(self, phases: Sequence[Phase], cluster: Cluster, number: int = 0) -> None:
        self.cluster, self.random = cluster, random.Random(f"{cluster.seed}/{number}")
        self.lost, self.failures, self.now = 0.0, 0, cluster.startup
        self.workers = [self.begun(self.now) for _ in range(cluster.workers)]
        for phase in phases:
            self.now = self.end_of(phase)
        self.outcome = Outcome(self.now, self.lost, self.failures)

    def begun(self, when: float) -> Worker:
        """A worker at the beginning of a life."""
        mtbf, spread = self.cluster.mtbf, self.cluster.stragglers
        fails = when + self.random.expovariate(1 / mtbf) if mtbf else math.inf
        return Worker(when, fails, math.exp(spread * self.random.gauss(0, 1) - spread**2 / 2) if spread else 1.0)

    def end_of(self, phase: Phase) -> float:
        """When it ends, which begins now."""
        if self.cluster.mode == GROUP:
            return self.by_the_group(phase, side_by_side=phase.shared or phase.summed)
        return self.side_by_side(phase) if phase.shared else self.one_by_one(phase)

    def ready(self, since: float) -> Worker:
        """Who can begin something first that there is since then; those that fail before go through their lives."""
        while True:
            worker = min(self.workers, key=lambda one: max(one.free, since))
            if worker.fails > max(worker.free, since):
                return worker
            self.fail(worker)

    def fail(self, worker: Worker) -> None:
        """Begin its next life."""
        begun = self.begun(worker.fails + self.cluster.restart + self.cluster.startup)
        worker.free, worker.fails, worker.pace = begun.free, begun.fails, begun.pace
        self.failures += 1

    def side_by_side(self, phase: Phase) -> float:
        """Each piece by whoever is free; that of one that fails is free again after a while."""
        pieces, each, end = [self.now] * phase.pieces, phase.seconds / phase.pieces, self.now
        while pieces:
            since = heapq.heappop(pieces)
            worker = self.ready(since)
            begins = max(worker.free, since)
            done = begins + each * worker.pace
            if worker.fails < done:
                self.lost += worker.fails - begins
                heapq.heappush(pieces, worker.fails + self.cluster.notice)
                self.fail(worker)
            else:
                worker.free, end = done, max(end, done)
        return end

    def one_by_one(self, phase: Phase) -> float:
        """All pieces by one worker; by another from the last finished piece on where it fails."""
        since, left = self.now, phase.pieces
        while True:
            worker = self.ready(since)
            begins, each = max(worker.free, since), phase.seconds / phase.pieces * worker.pace
            if begins + left * each <= worker.fails:
                worker.free = begins + left * each
                return worker.free
            finished = int((worker.fails - begins) / each)
            left -= finished
            self.lost += worker.fails - begins - finished * each
            since = worker.fails + self.cluster.notice
            self.fail(worker)

    def by_the_group(self, phase: Phase, side_by_side: bool) -> float:
        """With connected processes, which all begin again where one fails."""
        left, each, begins = phase.pieces, phase.seconds / phase.pieces, self.now
        while True:
            fails = min(worker.fails for worker in self.workers)
            paces = [worker.pace for worker in self.workers[: None if side_by_side else 1]]
            in_hand = [(begins + each * pace, pace) for pace in paces[:left]]
            heapq.heapify(in_hand)
            waiting, end = left - len(in_hand), begins
            while in_hand:
                done, pace = heapq.heappop(in_hand)
                if done > fails:
                    self.lost += fails - (done - each * pace)
                    continue
                left, end = left - 1, done
                if waiting:
                    waiting -= 1
                    heapq.heappush(in_hand, (done + each * pace, pace))
            if not left:
                return end
            begins = fails + self.cluster.restart + self.cluster.startup
            self.failures += 1
            self.workers = [self.begun(begins) for _ in self.workers]


@dataclass(frozen=True)
class Expected:
    """What so many workers take.

    Attributes:
        workers: N.
        seconds: of the job, median.
        low: its 5th percentile.
        high: its 95th.
        speed_up: over one worker that never fails, of the median.
        efficiency: of the workers' time, the share that a worker which never fails would need for the same.
        lost: worker-seconds of work that failures undid, mean.
        failures: of workers, mean.
    """

    workers: int
    seconds: float
    low: float
    high: float
    speed_up: float
    efficiency: float
    lost: float
    failures: float


def expected(phases: Sequence[Phase], cluster: Cluster) -> Expected:
    """Over the cluster's repeated simulations."""
    repeats = cluster.repeats if cluster.mtbf or cluster.stragglers else 1
    found = [Simulation(phases, cluster, number).outcome for number in range(repeats)]
    times = sorted(one.seconds for one in found)
    work = sum(phase.seconds for phase in phases) + cluster.startup
    middle = statistics.median(times)
    return Expected(
        workers=cluster.workers,
        seconds=middle,
        low=times[int(0.05 * (repeats - 1))],
        high=times[math.ceil(0.95 * (repeats - 1))],
        speed_up=work / middle,
        efficiency=work / middle / cluster.workers,
        lost=statistics.fmean(one.lost for one in found),
        failures=statistics.fmean(one.failures for one in found),
    )


def by_workers(phases: Sequence[Phase], cluster: Cluster) -> Iterator[Expected]:
    """Of 1, 2, 4, ... workers, and of as many as there are."""
    powers = itertools.takewhile(lambda count: count < cluster.workers, (2**n for n in itertools.count()))
    for count in (*powers, cluster.workers):
        yield expected(phases, replace(cluster, workers=count))


def cluster_of(text: str) -> Cluster:
    """The cluster that is written as `workers=64,mtbf=24h,restart=5m`; times in seconds, or with s, m, h or d.

    Raises:
        ConfigurationError: what it has not, or what it cannot have.
    """
    known = get_type_hints(Cluster)
    given: dict[str, Any] = {}
    for entry in filter(None, text.split(",")):
        name, _, value = entry.partition("=")
        if name not in known:
            raise ConfigurationError(f"--simulate {entry}: choose from {', '.join(known)}, as workers=64,mtbf=24h.")
        given[name] = value if known[name] is str else _number(entry, value, known[name])
    return Cluster(**given)


def _number(entry: str, value: str, kind: type) -> Any:
    unit = {"s": 1, "m": 60, "h": 3600, "d": 86400}.get(value[-1:]) if kind is float else None
    try:
        return kind(value) if unit is None else unit * float(value[:-1])
    except ValueError:
        raise ConfigurationError(
            f"--simulate {entry}: {'a number of seconds, or 90s, 5m, 24h, 7d' if kind is float else 'a whole number'}."
        ) from None
