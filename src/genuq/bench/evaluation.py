"""What an evaluation costs as samples grow, and its neighbourhood metrics beside prdc's.

Every measurement is a process of its own, so that its peak memory is that of its work; rounds are interleaved, and
records hold medians. On a machine that others use too, seconds of CPU say more than seconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from genuq.analysis import EvaluationSettings, SampleFacts, ScoredSamples, evaluate_scores, neighbourhood_for
from genuq.bench.metric_peers import FID, MANIFOLD, METRICS, Metric
from genuq.bench.tables import peak_resident
from genuq.errors import ConfigurationError, GenuqError
from genuq.metrics import frechet_distance, precision_recall
from genuq.report.drawing.markdown import table_lines
from genuq.report.drawing.values import decimals

HELP = "time and memory of evaluations at many samples, and of neighbourhood metrics beside prdc"
Record = dict[str, Any]
NEIGHBOURS, REALS = 5, 5000  # of each ball; real points of the mixture
LEAN = EvaluationSettings(half_samples=2, random_repeats=2)  # each replicate of a curve is a whole FID


class Case(NamedTuple):
    """One measurement: whose (`side`), of what, on how many samples of how many features."""

    side: str
    work: str
    samples: int
    dimension: int

    @property
    def what(self) -> str:
        return f"{self.work}, N = {self.samples:,}, D = {self.dimension:,}"


POINTS, WHOLE = "evaluation of points of the mixture", "evaluation of features"
ALONE = "FID, precision, recall, density, coverage alone"


def configure(command: argparse.ArgumentParser) -> None:
    command.add_argument("--n", type=int, nargs="+", metavar="N", help="samples of features (default: 8000, quick 200)")
    command.add_argument(
        "--points", type=int, nargs="+", metavar="N", help="of the mixture (default: 2000 10000, quick 150 300)"
    )
    command.add_argument("--dimension", type=int, help="of the features (default: 2048, quick 64)")
    command.add_argument("--rounds", type=int, default=3, help="interleaved, of the medians (default: %(default)s)")
    command.add_argument("--peers", action="store_true", help="beside prdc, which must be installed")


def run(arguments: argparse.Namespace) -> list[Record]:
    """Records of evaluations by number of points, of evaluations beside their metrics alone, and of prdc."""
    if arguments.peers and find_spec("prdc") is None:
        raise ConfigurationError("--peers: prdc is not installed. Run: pip install prdc")
    sizes = arguments.n or ([200] if arguments.quick else [8000])
    points = arguments.points or ([150, 300] if arguments.quick else [2000, 10_000])
    dimension, rounds = (
        arguments.dimension or (64 if arguments.quick else 2048),
        1 if arguments.quick else arguments.rounds,
    )
    records = compared([Case("genuq", POINTS, count, 2) for count in points], rounds)
    for count in sizes:
        records += compared([Case("genuq", work, count, dimension) for work in (ALONE, WHOLE)], rounds)
        sides = ("genuq", "prdc") if arguments.peers else ("genuq",)
        records += compared([Case(side, MANIFOLD, count, dimension) for side in sides], rounds)
    return records


def table(records: Sequence[Record]) -> str:
    rows = []
    for record in records:
        numbers = (record["seconds"], record["cpu_seconds"], record["peak_bytes"] / 2**20)
        shown = [decimals(number, places) for number, places in zip(numbers, (1, 1, 0))]
        ratios = [decimals(record[name], 2) for name in ("ratio", "peak_ratio")]
        rows.append([record["what"], record["side"], *shown, *ratios])
    heads = ["what", "side", "s", "s of CPU", "peak, MiB", "CPU over the first", "peak over the first"]
    return "\n".join(table_lines(heads, rows, text_columns=2))


def compared(cases: Sequence[Case], rounds: int) -> list[Record]:
    """A record for each case, with its ratio to the first one in seconds of CPU and in peak memory."""
    found = [[measured(case) for case in cases] for _ in range(rounds)]
    records = [_record(case, [turn[place] for turn in found]) for place, case in enumerate(cases)]
    for record in records:
        record["ratio"] = record["cpu_seconds"] / records[0]["cpu_seconds"]
        record["peak_ratio"] = record["peak_bytes"] / records[0]["peak_bytes"]
    return records


def _record(case: Case, rounds: Sequence[Record]) -> Record:
    names = ("seconds", "cpu_seconds", "peak_bytes")
    medians = {name: statistics.median(turn[name] for turn in rounds) for name in names}
    return {"what": case.what, "side": case.side, **medians, "evaluations": None, "values": rounds[0]["values"]}


def measured(case: Case) -> Record:
    """Seconds, seconds of CPU, bytes above those held before the work, and what it found.

    Raises:
        GenuqError: it failed.
    """
    command = [sys.executable, "-W", "ignore", "-m", "genuq.bench.evaluation", json.dumps(case)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise GenuqError(f"{case.side}: {case.what} ended with {done.returncode}; see above. Out of memory?")
    record: Record = json.loads(done.stdout.splitlines()[-1])
    return record


def measure(case: Case) -> Record:
    """`measured`, in this process."""
    work = WORK[case.work, case.side](case.samples, case.dimension)
    held, started, spent = resident(), time.perf_counter(), time.process_time()
    values = work()
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - spent
    peak = max(peak_resident() - held, 1)
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_bytes": peak, "values": values}


def resident() -> int:
    """Bytes of this process in memory, the largest so far where the kernel does not tell."""
    status = Path("/proc/self/status")
    if not status.exists():
        return peak_resident()
    (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmRSS:")]
    return 1024 * int(line.split()[1])


Values = dict[str, float]
Work = Callable[[int, int], Callable[[], Values]]  # samples and features to the work on them


def points_of_mixture(count: int, dimension: int) -> Callable[[], Values]:
    """Points about 25 modes in the plane, one in twenty of them anywhere, with two scores and two controls."""
    source = np.random.default_rng(0)
    modes = np.stack(np.meshgrid(*[np.arange(5.0)] * 2), axis=-1).reshape(25, 2)

    def drawn(number: int) -> np.ndarray:
        return modes[source.integers(0, 25, number)] + 0.05 * source.normal(size=(number, dimension))

    real, fake, bad = drawn(REALS), drawn(count), source.random(count) < 0.05
    fake[bad] = source.uniform(-1, 5, (int(bad.sum()), dimension))
    distance = np.linalg.norm(fake[:, None] - modes, axis=2).min(1)
    columns = {
        "entropy": ScoredSamples(distance + 0.1 * source.normal(size=count), "Entropy"),
        "trace": ScoredSamples(distance + 0.3 * source.normal(size=count), "Trace", "baseline"),
        "random": ScoredSamples(source.random(count), "Random", "control"),
        "jitter": ScoredSamples(distance + source.normal(size=count), "Jitter", "control"),
    }
    return lambda: _evaluated(columns, torch.from_numpy(fake), torch.from_numpy(real), bad, EvaluationSettings())


def features_evaluated(count: int, dimension: int) -> Callable[[], Values]:
    """Normal features, one score, and few replicates of the curves."""
    real, fake = normal(count, dimension)
    source = np.random.default_rng(1)
    bad = source.random(count) < 0.2
    columns = {"entropy": ScoredSamples(bad + source.normal(size=count), "Entropy")}
    return lambda: _evaluated(columns, fake, real, bad, LEAN)


def _evaluated(
    scores: dict[str, ScoredSamples],
    fake: torch.Tensor,
    real: torch.Tensor,
    bad: np.ndarray,
    settings: EvaluationSettings,
) -> Values:
    known = neighbourhood_for(settings, real, fake)
    targets = {"realism": known.realism_N, "membership": known.membership_N.double()}
    facts = SampleFacts(targets=targets, bad=bad.astype(float))
    rows = evaluate_scores(scores, fake, real, facts, settings, neighbourhood=known)
    return {row.name: row.auroc.value for row in rows if row.auroc is not None and row.auroc.value is not None}


def metrics_alone(count: int, dimension: int) -> Callable[[], Values]:
    real, fake = normal(count, dimension)
    return lambda: {"fid": frechet_distance(real, fake), **precision_recall(real, fake, NEIGHBOURS)._asdict()}


def manifold(count: int, dimension: int) -> Callable[[], Values]:
    real, fake = normal(count, dimension)
    return lambda: precision_recall(real, fake, NEIGHBOURS)._asdict()


def fid(count: int, dimension: int) -> Callable[[], Values]:
    real, fake = normal(count, dimension)
    return lambda: {"fid": frechet_distance(real, fake)}


def by_peer(metric: Metric) -> Work:
    """What a library makes of the same features, once it is imported."""

    def work(count: int, dimension: int) -> Callable[[], Values]:
        metric(*normal(8, 2), 2)  # what it imports on first use is not what is measured
        real, fake = normal(count, dimension)
        return lambda: metric(real, fake, NEIGHBOURS)

    return work


def normal(count: int, dimension: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of real and of generated samples, float32."""
    source = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(count, dimension, generator=source) for _ in range(2))
    return real, fake.mul_(0.98)


WORK: dict[tuple[str, str], Work] = {
    (POINTS, "genuq"): points_of_mixture,
    (WHOLE, "genuq"): features_evaluated,
    (ALONE, "genuq"): metrics_alone,
    (MANIFOLD, "genuq"): manifold,
    (FID, "genuq"): fid,
    **{key: by_peer(metric) for key, metric in METRICS.items()},
}

if __name__ == "__main__":
    print(json.dumps(measure(Case(*json.loads(sys.argv[1])))))
