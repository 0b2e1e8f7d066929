"""An earlier genuq beside this one: the stages of the same run, each in a process of its own.

The run is asked for in words that both understand, and each process notes when a stage leaves its manifest: so seconds
of CPU of every stage are known of versions that do not count them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch

import genuq
from genuq import files
from genuq.bench.rows import BASELINE, OURS, Row, not_run
from genuq.bench.timing import Spent, median
from genuq.errors import ConfigurationError, GenuqError

STAGES = ("fit", "sample", "embed", "score", "evaluate")
TARGET = 0.4  # of the baseline's time
RUN = (
    *("data=fashion_mnist", "model=flow_matching", "sampler=dpm_solver_pp_2m", "posterior=exact_laplace"),
    *("likelihood=semantic", "likelihood.options.image_size=64", "score=entropy", "metric=classifier", "logger=none"),
    f"stages=[{','.join(STAGES)}]",
)
SIZES = {False: ("sampler.steps=10", "sampler.samples=128"), True: ("sampler.steps=4", "sampler.samples=8")}
SMALL = (  # what is cut short where the run is not of full size
    *("posterior.images=128", "posterior.held_out=64"),
    *("metric.bootstrap=20", "metric.half_samples=4", "metric.random_repeats=3"),
)
REMEDY = (
    "Give a wheel (git worktree add ../base COMMIT && pip wheel --no-deps --wheel-dir ../wheel ../base), or the python "
    "of an environment where it is installed."
)
WHOLE = "all stages of a run"

# Runs the command of whichever genuq is there, and notes when each folder of the store and each manifest appeared.
PROGRAM = """
import json, sys, threading, time
from importlib.metadata import entry_points
from pathlib import Path

store, out, *words = sys.argv[1:]
seen, done = {}, threading.Event()

def look():
    for path in [*Path(store).glob("*"), *Path(store).glob("*/*/manifest.json")]:
        seen.setdefault("/".join(path.relative_to(store).parts[::2]), (time.perf_counter(), time.process_time()))

def watch():
    while not done.wait(0.05):
        look()

command = next(iter(entry_points(group="console_scripts", name="genuq"))).load()
sys.argv = ["genuq", *words]
threading.Thread(target=watch, daemon=True).start()
try:
    status = command()
except SystemExit as stop:
    status = stop.code
done.set()
look()
peak = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
Path(out).write_text(json.dumps({"seen": seen, "peak": 1024 * int(peak[0].split()[1])}))
sys.exit(status)
"""


@dataclass(frozen=True)
class Side:
    """A genuq that can be run.

    Attributes:
        python: that runs it.
        path: in front of what that python finds; none: as it is.
    """

    name: str
    python: str
    path: str | None

    def run(self, program: str, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        known = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        known |= {} if self.path is None else {"PYTHONPATH": self.path}
        known["OMP_NUM_THREADS"] = str(torch.get_num_threads())
        command = [self.python, "-W", "ignore", "-c", program, *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=known, cwd=folder)


def ours() -> Side:
    return Side(OURS, sys.executable, str(Path(genuq.__file__).parents[1]))


def baseline(given: str, folder: Path) -> Side:
    """The genuq that `--baseline` names.

    Args:
        given: a wheel, whose packages are found beside this python's own, or the python of another environment.
        folder: for what the wheel holds.

    Raises:
        ConfigurationError: there is no such file, it cannot be run, or it is this very genuq.
    """
    side = _from_wheel(Path(given), folder) if given.endswith(".whl") else Side(BASELINE, given, None)
    try:
        found = side.run("import genuq; print(genuq.__file__)", folder=folder)
    except OSError as error:
        raise ConfigurationError(f"--baseline {given} cannot be run ({error.strerror}). {REMEDY}") from error
    if found.returncode:
        words = found.stderr.strip().splitlines()[-1:] or [f"it ended with {found.returncode}"]
        raise ConfigurationError(f"--baseline {given} has no genuq that can be imported ({words[0]}). {REMEDY}")
    if Path(found.stdout.strip()).resolve() == Path(genuq.__file__).resolve():
        raise ConfigurationError(f"--baseline {given} is this very genuq. {REMEDY}")
    return side


def require(given: str) -> None:
    """Raise ConfigurationError unless the genuq that `--baseline` names can be run."""
    with tempfile.TemporaryDirectory() as name:
        baseline(given, Path(name))


def _from_wheel(wheel: Path, folder: Path) -> Side:
    try:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder / "wheel")
    except (OSError, zipfile.BadZipFile) as error:
        raise ConfigurationError(f"--baseline {wheel} is no wheel that can be read ({error}). {REMEDY}") from error
    return Side(BASELINE, sys.executable, str(folder / "wheel"))


class Ran(NamedTuple):
    """What the stages of one run took, and what they left."""

    stages: dict[str, Spent]
    peak_bytes: int
    store: Path


def rows(given: str | None, quick: bool, rounds: int) -> list[Row]:
    """A row for each stage and side, and one for all stages, of interleaved runs; a reason without a baseline."""
    if given is None:
        return [not_run(WHOLE, f"no --baseline. {REMEDY}", BASELINE, TARGET)]
    words = [*RUN, *SIZES[quick], *(SMALL if quick else ())]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sides = (baseline(given, folder), ours())
        ran = [[launched(side, words, folder / f"{side.name}{turn}") for side in sides] for turn in range(rounds)]
        apart = samples_apart(*(one.store for one in ran[0]))
    return compared([turn[0] for turn in ran], [turn[1] for turn in ran], apart)


def launched(side: Side, words: Sequence[str], folder: Path) -> Ran:
    """The run, from nothing.

    Raises:
        GenuqError: it failed.
    """
    folder.mkdir()
    store, out = folder / "store", folder / "seen.json"
    done = side.run(PROGRAM, str(store), str(out), *words, f"store={store}", "name=run", folder=folder)
    if done.returncode:
        raise GenuqError(f"{side.name} failed on genuq {' '.join(words)}: {done.stderr.strip()[-2000:]}")
    record = json.loads(out.read_text())
    return Ran(spent_by_stage(record["seen"]), record["peak"], store)


def spent_by_stage(seen: Mapping[str, Sequence[float]]) -> dict[str, Spent]:
    """What each stage took: from its folder's appearance, or the end of the stage before it, to its manifest.

    Args:
        seen: (clock, clock of the process) at which a stage's folder `STAGE` and its `STAGE/manifest.json` were there.
    """
    ends = {stage: Spent(*seen[f"{stage}/manifest.json"]) for stage in STAGES if f"{stage}/manifest.json" in seen}
    taken, before = {}, Spent(*seen[STAGES[0]])
    for stage, end in sorted(ends.items(), key=lambda entry: entry[1].seconds):
        begun = Spent(*map(max, before, seen[stage]))
        taken[stage] = Spent(*(later - earlier for later, earlier in zip(end, begun)))
        before = end
    return taken


def samples_apart(one: Path, other: Path) -> float:
    """The largest difference between the samples in two stores; infinite where they are not the same in number."""
    images = [torch.cat([files.read_tensors(path)[0]["image"] for path in _shards(store)]) for store in (one, other)]
    return float((images[0] - images[1]).abs().max()) if images[0].shape == images[1].shape else float("inf")


def _shards(store: Path) -> list[Path]:
    return sorted(store.glob("sample/*/shard-*.safetensors"))


def compared(earlier: Sequence[Ran], now: Sequence[Ran], apart: float) -> list[Row]:
    """Rows of medians over rounds, this genuq's with its ratio to the earlier one's."""
    found = []
    for stage in (*STAGES, WHOLE):
        what = stage if stage == WHOLE else f"stage {stage} of a run"
        first, second = (_row(what, side, stage, ran) for side, ran in ((BASELINE, earlier), (OURS, now)))
        ratio = (second.cpu_seconds or 0) / max(first.cpu_seconds or 0, 1e-9)
        found += [first, replace(second, ratio=ratio, over=BASELINE)]
    note = None if found[-1].ratio is not None and found[-1].ratio <= TARGET else "see the stages"
    return [*found[:-1], replace(found[-1], target=TARGET, reason=note, values={"samples differ by": apart})]


def _row(what: str, side: str, stage: str, ran: Sequence[Ran]) -> Row:
    spent = median([_whole(one.stages) if stage == WHOLE else one.stages[stage] for one in ran])
    peak = max(one.peak_bytes for one in ran) if stage == WHOLE else None
    return Row(what, side, spent.seconds, spent.cpu_seconds, peak)


def _whole(stages: Mapping[str, Spent]) -> Spent:
    return Spent(*(sum(values) for values in zip(*stages.values())))
