"""What the store costs a run: the shipped flow-matching model from its fit to its evaluation, and the same run again.

Counted as the store's: hashing what artefacts depend on and what they hold, locks, links, manifests, records, and
waiting for the disk. Writing the tensors themselves is not: a run would write them anywhere.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from rich.console import Console

from genuq import files
from genuq.config import schemas
from genuq.config.compose import config_directory
from genuq.config.plugged import settle
from genuq.display import Display
from genuq.pipeline import execute
from genuq.pipeline.run import Run
from genuq.pipeline.stage import Stage
from genuq.report.drawing.markdown import table_lines
from genuq.store.artefact import StageFolder
from genuq.store.leases import Lease

HELP = "share of a run's time that the store takes"
Record = dict[str, Any]
PARTS: tuple[tuple[Any, str], ...] = (
    (Stage, "folder"),
    (StageFolder, "is_current"),
    (StageFolder, "complete"),
    (StageFolder, "verify"),
    (Run, "link"),
    (execute, "record_of"),
    (execute, "write_record"),
    (Lease, "attempt"),
    (Lease, "release"),
    (files, "_sort_metadata"),
    (os, "fsync"),
)


def configure(command: argparse.ArgumentParser) -> None:
    command.add_argument("--samples", type=int, help="of the run (default: 512, quick 32)")


def run(arguments: argparse.Namespace) -> list[Record]:
    """A record for a run from nothing, and one for the same run when all is there."""
    samples = arguments.samples or (32 if arguments.quick else 512)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        overrides = [
            "experiment=fashion_mnist",
            f"sampler.samples={samples}",
            f"store={folder}/store",
            "stages=[fit,sample,embed,score,evaluate]",
            "propagator=none",
            "logger=none",
            *(() if samples >= 512 else ("metric.bootstrap=20", "metric.half_samples=4", "metric.random_repeats=3")),
        ]
        schemas.register()
        with initialize_config_dir(str(config_directory()), version_base="1.3"):
            config = settle(compose("config", overrides=overrides))
        (folder / "run").mkdir()
        cases = ("from nothing", "again")
        return [{"case": case, "samples": samples, **measured(config, folder / "run")} for case in cases]


def table(records: Sequence[Record]) -> str:
    rows = [
        [
            row["case"],
            str(row["samples"]),
            f"{row['seconds']:.1f}",
            f"{row['store_seconds']:.2f}",
            f"{row['share']:.2%}",
        ]
        for row in records
    ]
    return "\n".join(table_lines(["run", "samples", "s", "of these the store's", "share"], rows, text_columns=1))


def measured(config: Any, folder: Path) -> Record:
    display = Display(Console(file=io.StringIO()))
    started = time.perf_counter()
    with counting(PARTS) as spent:
        execute.execute(config, folder, "genuq bench store", display)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "store_seconds": spent(), "share": spent() / seconds}


@contextlib.contextmanager
def counting(parts: Sequence[tuple[Any, str]]) -> Iterator[Callable[[], float]]:
    """Add up the seconds within these functions while it lasts; within several at once they count once."""
    total, depth = 0.0, 0

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal total, depth
            depth += 1
            started = time.perf_counter()
            try:
                return function(*args, **options)
            finally:
                depth -= 1
                if depth == 0:
                    total += time.perf_counter() - started

        return call

    originals = [(owner, name, getattr(owner, name)) for owner, name in parts]
    for owner, name, function in originals:
        setattr(owner, name, timed(function))
    try:
        yield lambda: total
    finally:
        for owner, name, function in originals:
            setattr(owner, name, function)
