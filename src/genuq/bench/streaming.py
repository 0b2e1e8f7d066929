"""What each stage of a run holds as samples grow: points of a mixture, each stage in a process of its own."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from genuq.bench.baseline import ours
from genuq.bench.rows import Row
from genuq.errors import GenuqError

STAGES = ("fit", "sample", "probe", "embed", "score", "evaluate", "report")
SIZES = (1000, 10_000, 100_000)
RUN = (  # the exact score of the mixture, of which nothing is to be trained
    *("experiment=mixture_exact", "logger=none", "sampler.steps=5", "sampler.batch_size=1000", "posterior.draws=3"),
    *("posterior.images=2000", "posterior.held_out=500", "score.also=[lid]", "score.controls=[random]"),
    *("metric.reference_images=1000", "metric.bootstrap=20", "metric.half_samples=2", "metric.random_repeats=2"),
    *("metric.curves=[fid]", "name=run"),
)
PROGRAM = """
import json, sys, time
from genuq.bench.tables import peak_resident
from genuq.cli.main import subcommand

started = time.perf_counter()
status = subcommand("run", sys.argv[1:])
print()
print(json.dumps([time.perf_counter() - started, time.process_time(), peak_resident()]))
sys.exit(status)
"""


def rows(sizes: Sequence[int] = SIZES, stages: Sequence[str] = STAGES) -> list[Row]:
    """A row for each stage and number of samples, with its peak over that of the first number."""
    found = [_of_size(size, stages) for size in sizes]
    return [row for first, *others in zip(*found) for row in (first, *(_over(other, first) for other in others))]


def _of_size(size: int, stages: Sequence[str]) -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        words = [*RUN, f"sampler.samples={size}", f"store={name}/store"]
        return [_of_stage(stage, size, words, Path(name)) for stage in stages]


def _of_stage(stage: str, size: int, words: Sequence[str], folder: Path) -> Row:
    """One stage in a process of its own, with its whole resident peak: the libraries take most of it.

    Raises:
        GenuqError: it failed.
    """
    done = ours().run(PROGRAM, *words, f"stages=[{stage}]", folder=folder)
    if done.returncode:
        raise GenuqError(f"stage {stage} of {size:,} points ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    seconds, cpu_seconds, peak = json.loads(done.stdout.strip().splitlines()[-1])
    what = f"stage {stage} of {size:,} points of the mixture, whole process"
    return Row(what, seconds=seconds, cpu_seconds=cpu_seconds, peak_bytes=peak)


def _over(row: Row, first: Row) -> Row:
    assert row.peak_bytes is not None and first.peak_bytes is not None
    return replace(row, ratio=row.peak_bytes / first.peak_bytes, over="peak of the fewest")
